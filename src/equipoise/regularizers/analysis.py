"""Gradient fields ``R(x) = K^T psi'(K x + b)``: one implementation for every analysis operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound, proved
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.features import FrozenPotential
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization
from equipoise.regularizers.operators import AnalysisOperator
from equipoise.regularizers.profiles import Profile

_WHY = "curvature of the potentials and the norm of the filters"


class AnalysisRegularizer(Regularizer):
    """``r(x) = sum psi(K x + b)``, ``R(x) = K^T psi'(K x + b)``, ``J = K^T diag(psi'') K``.

    Args:
        operator: K.
        profile: psi, per feature channel.
        bias: b, shape (features,), or None.
    """

    #: Catalogue name and constructor arguments, set by subclasses.
    _config: dict[str, Any]

    def __init__(
        self, operator: AnalysisOperator, profile: Profile, bias: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.operator, self.profile = operator, profile
        self.bias = bias

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name and constructor arguments."""
        return dict(self._config)

    def constants(self) -> Constants:
        """The weights of K."""
        return self.operator.weights()

    def _features(self, x: Tensor, constants: Constants) -> Tensor:
        return self.operator.apply_to(x, constants, self.bias)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.operator.field(x, constants, constants, self.bias, self.profile)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        return self.profile.value(self._features(x, constants)).flatten(1).sum(1)

    def _potential_and_field(self, x: Tensor, constants: Constants) -> tuple[Tensor, Tensor]:
        value, slope = self.profile.value_and_slope(self._features(x, constants))
        return value.flatten(1).sum(1), self.operator.adjoint(slope, constants)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        curvature = self.profile.curvature(self._features(x, constants))
        product = congruence(self.operator, constants, curvature, self.operator, constants)
        return Linearization(product, product)

    def _frozen(self, constants: Constants) -> FrozenField:
        point, weights = self.profile.pointwise(), constants
        bias: Tensor | None = self.bias
        if point.gains is not None:
            weights = self.operator.weighted(constants, point.gains)
            bias = None if bias is None else point.gains * bias
        sandwich = self.operator.sandwich(weights, weights, bias)
        known = self.operator.autocorrelations(weights)
        return FrozenPotential(self, constants, sandwich, point, known)

    def modulus(self) -> Bound:
        """``-||N||^2``: ``J`` lies between ``-N^T N`` and ``P^T P`` with
        ``N, P = diag(-+psi'')_+^(1/2) K``. For convex potentials 0, without a look at K."""
        return proved(0.0 - self._square_norm(-self.profile.curvature_range()[0]), _WHY)

    def lipschitz(self) -> Bound:
        """``max(||N||^2, ||P||^2)``."""
        up = self._square_norm(self.profile.curvature_range()[1])
        return proved(max(-self.modulus().value, up), _WHY)

    def attaining(self) -> bool:
        """As the potentials' tails are."""
        return self.profile.tails().attaining

    def bounded(self) -> bool:
        """As the slopes of the potentials are."""
        return self.profile.tails().bounded_slope

    @torch.no_grad()
    def _square_norm(self, curvatures: Tensor) -> float:
        """``||diag(c_+)^{1/2} K||^2``, from above."""
        gains = curvatures.clamp(min=0.0).sqrt().expand(self.operator.features)
        if not bool(gains.any()):
            return 0.0
        wide = tuple(w.double() for w in self.constants())
        return self.operator.norm(self.operator.weighted(wide, gains)) ** 2


def congruence(
    left: AnalysisOperator,
    left_weights: Constants,
    curvature: Tensor,
    right: AnalysisOperator,
    right_weights: Constants,
) -> Callable[[Tensor], Tensor]:
    """Make the product ``v -> left^T diag(curvature) right v``."""

    def product(v: Tensor) -> Tensor:
        return left.adjoint(curvature * right.apply_to(v, right_weights), left_weights)

    return product
