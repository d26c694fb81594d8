"""Fields ``R(x) = K2^T s(K1 x + b)`` that need not be gradients, for every analysis operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound, proved
from equipoise.errors import UsageError
from equipoise.regularizers.analysis import congruence
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.features import FrozenFeatures
from equipoise.regularizers.frozen import FrozenField
from equipoise.regularizers.linearization import Linearization
from equipoise.regularizers.operators import AnalysisOperator, Weights
from equipoise.regularizers.profiles import Profile

#: How much a unit of the parameter D separates K1 from K2.
DIFFERENCE_GAIN = 0.1


class UntiedRegularizer(Regularizer):
    """``R(x) = K2^T s(K1 x + b)``, in general no gradient; ``K2 = K1`` makes it one.

    The parameters are the mean M and the difference D of both sides, ``K1 = M - g D`` and
    ``K2 = M + g D`` with a fixed gain g: the same fields as with K1 and K2, but an optimiser that
    normalises gradients then moves M as it would move a tied pair, and D more slowly.

    Args:
        mean: M, linear in its parameters (a single convolution or matrix).
        difference: D, of the same kind; its parameters are set to zero, so that it starts tied.
        profile: the potential of s, with slopes of s in ``[0, s_max]``.
        bias: b, shape (features,).
    """

    gradient_field = False
    #: Catalogue name and constructor arguments, set by subclasses.
    _config: dict[str, Any]

    def __init__(
        self,
        mean: AnalysisOperator,
        difference: AnalysisOperator,
        profile: Profile,
        bias: nn.Parameter,
    ) -> None:
        super().__init__()
        self.mean, self.difference, self.profile, self.bias = mean, difference, profile, bias
        with torch.no_grad():
            for parameter in difference.parameters():
                parameter.zero_()

    @property
    def config(self) -> dict[str, Any]:
        """Catalogue name and constructor arguments."""
        return dict(self._config)

    def sides(self) -> tuple[Weights, Weights]:
        """The weights of K1 and of K2, differentiable functions of the parameters."""
        pairs = list(zip(self.mean.weights(), self.difference.weights(), strict=True))
        inner = tuple(m - DIFFERENCE_GAIN * d for m, d in pairs)
        outer = tuple(m + DIFFERENCE_GAIN * d for m, d in pairs)
        return inner, outer

    def set_sides(self, inner: Tensor, outer: Tensor) -> None:
        """Choose the parameters such that K1 and K2 are the given ones.

        Args:
            inner: filters or matrix of K1, shape of the operator's parameter.
            outer: the same of K2.
        """
        with torch.no_grad():
            next(self.mean.parameters()).copy_(0.5 * (inner + outer))
            next(self.difference.parameters()).copy_((outer - inner) / (2 * DIFFERENCE_GAIN))

    def constants(self) -> Constants:
        """The weights of K1 and K2."""
        inner, outer = self.sides()
        return (*inner, *outer)

    @staticmethod
    def _halves(constants: Constants) -> tuple[Weights, Weights]:
        half = len(constants) // 2
        return constants[:half], constants[half:]

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.mean.field(x, *self._halves(constants), self.bias, self.profile)

    def _linearize(self, x: Tensor, constants: Constants) -> Linearization:
        inner, outer = self._halves(constants)
        curvature = self.profile.curvature(self.mean.apply_to(x, inner, self.bias))
        return Linearization(
            congruence(self.mean, outer, curvature, self.mean, inner),
            congruence(self.mean, inner, curvature, self.mean, outer),
        )

    def _frozen(self, constants: Constants) -> FrozenField:
        inner, outer = self._halves(constants)
        point = self.profile.pointwise()
        assert point.gains is None, "no profile of a pair asks for gains"
        sandwich = self.mean.sandwich(inner, outer, self.bias)
        # Near the point where both sides are their mean, the field is a tied one.
        mean = tuple(0.5 * (k1 + k2) for k1, k2 in zip(inner, outer, strict=True))
        known = self.mean.autocorrelations(mean)
        return FrozenFeatures(self, constants, sandwich, point, known)

    def modulus(self) -> Bound:
        """``s_max`` times what the difference of the operators gives."""
        inner, outer = self._wide_sides()
        return _untied_modulus(self.mean, inner, outer).times(self._steepest())

    def lipschitz(self) -> Bound:
        """``s_max ||K1|| ||K2||``."""
        inner, outer = (self.mean.norm(side) for side in self._wide_sides())
        return proved(self._steepest() * inner * outer, "product of the operators' norms")

    def bounded(self) -> bool:
        """As the activation is."""
        return self.profile.tails().bounded_slope

    def _steepest(self) -> float:
        return float(self.profile.curvature_range()[1].max())

    def _wide_sides(self) -> tuple[Weights, Weights]:
        with torch.no_grad():
            return self._halves(tuple(w.double() for w in self.constants()))

    def hold_modulus(self, least: float) -> None:
        """Shrink D as little as needed so that ``-s_max ||K2 - K1||^2 / 4 >= least``.

        Args:
            least: a lower bound of the modulus, not positive.

        Raises:
            UsageError: if the bound is positive (no pair has such a modulus).
        """
        if least > 0:
            raise UsageError(
                f"An untied pair cannot be held above a positive modulus, got {least}."
            )
        with torch.no_grad():
            (difference,) = (w.double() for w in self.difference.weights())
            gap = 2 * DIFFERENCE_GAIN * self.difference.norm((difference,))
            allowed = (-4.0 * least / self._steepest()) ** 0.5
            if gap > allowed:
                for parameter in self.difference.parameters():
                    parameter.mul_(allowed / gap)


def _untied_modulus(operator: AnalysisOperator, inner: Weights, outer: Weights) -> Bound:
    """Best of several proved lower bounds of ``<K2 v, S K1 v> / |v|^2`` over diagonal 0 <= S <= 1.

    Entry by entry ``p q >= -(t p - q / t)^2 / 4`` for every t > 0, so that the quotient is at least
    ``-||t K1 - K2 / t||^2 / 4`` for any positive t per feature; and with ``D = K2 - K1`` it is at
    least ``-||D|| min(||K1||, ||K2||)``, since ``K^T S K`` is monotone.
    """
    sizes = operator.norm(inner), operator.norm(outer)
    first, second = inner[-1], outer[-1]
    rows = (first.flatten(1).norm(dim=1), second.flatten(1).norm(dim=1))
    ones = torch.ones_like(rows[0])
    candidates = [-operator.norm((second - first,)) * min(sizes)]
    balances = [ones]
    if min(sizes) > 0:
        balances.append(ones * (sizes[1] / sizes[0]) ** 0.5)
        balances.append(torch.where((rows[0] > 0) & (rows[1] > 0), rows[1] / rows[0], 1.0).sqrt())
    for t in balances:
        (left,), (right,) = operator.weighted((first,), t), operator.weighted((second,), 1.0 / t)
        candidates.append(-0.25 * operator.norm((left - right,)) ** 2)
    return proved(max(candidates), "difference of the two operators")
