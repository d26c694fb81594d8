from .base import LinearSolver as LinearSolver
from .bicgstab import BiCGStab as BiCGStab
from .choice import LINEAR_SOLVERS as LINEAR_SOLVERS
from .choice import linear_solver_by_name as linear_solver_by_name
from .conjugate_gradients import ConjugateGradients as ConjugateGradients
from .gmres import GMRES as GMRES
from .minres import MINRES as MINRES
from .neumann import NeumannSeries as NeumannSeries
