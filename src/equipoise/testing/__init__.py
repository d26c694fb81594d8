"""Public contract tests for regularisers, profiles, solvers and physics, and oracles."""

from equipoise.testing.adjoint import check_adjoint
from equipoise.testing.contract import (
    check_batch,
    check_channels,
    check_constants,
    check_frozen,
    check_inputs,
    check_jacobian,
    check_potential,
    check_prox,
    check_regularizer,
    check_saving,
    check_shapes,
)
from equipoise.testing.declared import check_far_away, check_traits
from equipoise.testing.derivatives import check_parameter_gradient, check_second_derivatives
from equipoise.testing.oracles import (
    dense_jacobian,
    dense_physics,
    dense_products,
    directional_difference,
)
from equipoise.testing.profile import check_profile
from equipoise.testing.solver import check_solver

__all__ = [
    "check_adjoint",
    "check_batch",
    "check_channels",
    "check_constants",
    "check_far_away",
    "check_frozen",
    "check_inputs",
    "check_jacobian",
    "check_parameter_gradient",
    "check_potential",
    "check_profile",
    "check_prox",
    "check_regularizer",
    "check_saving",
    "check_second_derivatives",
    "check_shapes",
    "check_solver",
    "check_traits",
    "dense_jacobian",
    "dense_physics",
    "dense_products",
    "directional_difference",
]
