"""What is known of the equation and its solutions, proved or estimated."""

from equipoise.certify.bregman import (
    absolute_bregman_distance,
    bregman_pairing,
    symmetric_bregman_distance,
)
from equipoise.certify.certificate import certify
from equipoise.certify.constants import (
    Bracket,
    FieldConstants,
    PhysicsConstants,
    physics_constants,
    regularizer_constants,
)
from equipoise.certify.convexity import Uniqueness, uniqueness
from equipoise.certify.lower_bound import (
    KernelComponent,
    LowerBound,
    error_floor,
    error_lower_bound,
    kernel_component,
)
from equipoise.certify.perturbation import (
    PairBounds,
    pair_bounds,
    stability_bounds,
)
from equipoise.certify.posteriori import (
    error_at_least,
    error_bound,
)
from equipoise.certify.rates import (
    RateBounds,
    best_alpha,
    expected_error_bound,
    rate_bounds,
    truth_error_bound,
)
from equipoise.certify.source_condition import (
    SourceElement,
    SourceSolver,
    least_norm_element,
    source_element,
    source_loss,
)
from equipoise.certify.statement import Certificate, Section, Statement
from equipoise.certify.symmetry import SymmetryDefect, symmetry_defect

__all__ = [
    "Bracket",
    "Certificate",
    "FieldConstants",
    "KernelComponent",
    "LowerBound",
    "PairBounds",
    "PhysicsConstants",
    "RateBounds",
    "Section",
    "SourceElement",
    "SourceSolver",
    "Statement",
    "SymmetryDefect",
    "Uniqueness",
    "absolute_bregman_distance",
    "best_alpha",
    "bregman_pairing",
    "certify",
    "error_at_least",
    "error_bound",
    "error_floor",
    "error_lower_bound",
    "expected_error_bound",
    "kernel_component",
    "least_norm_element",
    "pair_bounds",
    "physics_constants",
    "rate_bounds",
    "regularizer_constants",
    "source_element",
    "source_loss",
    "stability_bounds",
    "symmetric_bregman_distance",
    "symmetry_defect",
    "truth_error_bound",
    "uniqueness",
]
