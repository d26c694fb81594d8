"""Differentiate solutions of the equation: implicitly, Jacobian-free, or unrolled."""

from equipoise.differentiate.adjoint import (
    Adjoint,
    KrylovAdjoint,
    NeumannAdjoint,
    TruncatedAdjoint,
    adjoint_by_name,
    default_adjoint,
    jacobian_free,
    jacobian_norm,
    matched_tolerance,
)
from equipoise.differentiate.implicit import BackwardRecord, attach_gradient
from equipoise.differentiate.unrolled import unroll

__all__ = [
    "Adjoint",
    "BackwardRecord",
    "KrylovAdjoint",
    "NeumannAdjoint",
    "TruncatedAdjoint",
    "adjoint_by_name",
    "attach_gradient",
    "default_adjoint",
    "jacobian_free",
    "jacobian_norm",
    "matched_tolerance",
    "unroll",
]
