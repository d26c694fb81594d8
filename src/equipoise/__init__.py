"""Learned regularisation of inverse problems by equilibrium: solve, differentiate, learn, certify.

The names below are imported when first used, so that ``import equipoise`` costs nothing. The
functions ``solve`` and ``learn`` live in the packages of the same names:
``from equipoise.solve import solve``, ``from equipoise.learn import learn``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equipoise.bounds import Bound, Kind
    from equipoise.convolutions.compiling import use_compiler
    from equipoise.equation import Equation
    from equipoise.errors import (
        AdjointError,
        ConvergenceError,
        ConvergenceWarning,
        EquipoiseError,
        HypothesisError,
        InputError,
        NoPotentialError,
        OutputError,
        UnknownNameError,
        UsageError,
        WeightsError,
    )
    from equipoise.learn import TrainSettings
    from equipoise.problems import (
        Problem,
        deblur,
        denoise,
        from_physics,
        inpaint,
        photographs,
        tomography,
    )
    from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
    from equipoise.regularizers import (
        ContractiveResidual,
        DenseTiedPair,
        DenseUntiedPair,
        FieldsOfExperts,
        Regularizer,
        Residual,
        ResidualDenoiser,
        RidgeRegularizer,
        Scaled,
        SmoothedTotalVariation,
        Sum,
        TiedConvPair,
        Tikhonov,
        Traits,
        UntiedConvPair,
        build,
        from_deepinv,
        load_regularizer,
        save_regularizer,
    )
    from equipoise.status import LinearSolution, Solution, Status

#: Where each public name comes from.
_HOMES = {
    "equipoise.bounds": ("Bound", "Kind"),
    "equipoise.convolutions.compiling": ("use_compiler",),
    "equipoise.equation": ("Equation",),
    "equipoise.errors": (
        "AdjointError",
        "ConvergenceError",
        "ConvergenceWarning",
        "EquipoiseError",
        "HypothesisError",
        "InputError",
        "NoPotentialError",
        "OutputError",
        "UnknownNameError",
        "UsageError",
        "WeightsError",
    ),
    "equipoise.learn": ("TrainSettings",),
    "equipoise.problems": (
        "Problem",
        "deblur",
        "denoise",
        "from_physics",
        "inpaint",
        "photographs",
        "tomography",
    ),
    "equipoise.reconstructor": ("EquilibriumReconstructor", "SolveOptions"),
    "equipoise.regularizers": (
        "ContractiveResidual",
        "DenseTiedPair",
        "DenseUntiedPair",
        "FieldsOfExperts",
        "Regularizer",
        "Residual",
        "ResidualDenoiser",
        "RidgeRegularizer",
        "Scaled",
        "SmoothedTotalVariation",
        "Sum",
        "TiedConvPair",
        "Tikhonov",
        "Traits",
        "UntiedConvPair",
        "build",
        "from_deepinv",
        "load_regularizer",
        "save_regularizer",
    ),
    "equipoise.status": ("LinearSolution", "Solution", "Status"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AdjointError",
    "Bound",
    "ContractiveResidual",
    "ConvergenceError",
    "ConvergenceWarning",
    "DenseTiedPair",
    "DenseUntiedPair",
    "Equation",
    "EquilibriumReconstructor",
    "EquipoiseError",
    "FieldsOfExperts",
    "HypothesisError",
    "InputError",
    "Kind",
    "LinearSolution",
    "NoPotentialError",
    "OutputError",
    "Problem",
    "Regularizer",
    "Residual",
    "ResidualDenoiser",
    "RidgeRegularizer",
    "Scaled",
    "SmoothedTotalVariation",
    "Solution",
    "SolveOptions",
    "Status",
    "Sum",
    "TiedConvPair",
    "Tikhonov",
    "TrainSettings",
    "Traits",
    "UnknownNameError",
    "UntiedConvPair",
    "UsageError",
    "WeightsError",
    "__version__",
    "build",
    "deblur",
    "denoise",
    "from_deepinv",
    "from_physics",
    "inpaint",
    "load_regularizer",
    "photographs",
    "save_regularizer",
    "tomography",
    "use_compiler",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOME_OF:
        raise AttributeError(f"module 'equipoise' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("equipoise")
    except metadata.PackageNotFoundError:  # imported from a source tree that is not installed
        return "0+unknown"
