"""Fields ``R(x) = L^T s(K x + b)`` over any analysis operator: tied (L = K) and untied ones."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cache, cached_property

import torch
from torch import Tensor, nn

from equipoise.bounds import Bound, proved
from equipoise.convolutions.circulant import LocalKernels
from equipoise.convolutions.local_curvature import local_kernels, sampling
from equipoise.convolutions.sandwich import ConvolutionSandwich, Sandwich
from equipoise.convolutions.tiles import Tile
from equipoise.errors import UsageError
from equipoise.fields import Field, Fold, Linearization, Traits
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.operators import AnalysisOperator, Weights
from equipoise.regularizers.profiles import Pointwise, Profile

#: How much a unit of the parameter D separates K1 from K2.
DIFFERENCE_GAIN = 0.1
_WHY = "curvature of the potentials and the norm of the filters"


class TwoLayer(Regularizer):
    """``R(x) = L^T s(K x + b)`` with K and L of one kind."""

    #: The potential psi of ``s = psi'``, per feature channel.
    profile: Profile
    #: b, shape (features,), or None.
    bias: nn.Parameter | None

    @property
    @abstractmethod
    def kind(self) -> AnalysisOperator:
        """The operator whose weights K and L have."""

    @abstractmethod
    def _sides(self, constants: Constants) -> tuple[Weights, Weights]:
        """The weights of K and of L."""

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return self.kind.field(x, *self._sides(constants), self.bias, self.profile)

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        (inner, outer), point = self._sides(constants), self.profile.frozen()
        bias: Tensor | None = self.bias
        if point.gains is not None:
            tied = outer is inner
            inner = self.kind.weighted(inner, point.gains)
            outer = inner if tied else self.kind.weighted(outer, point.gains)
            bias = None if bias is None else point.gains * bias
        sandwich = self.kind.sandwich(inner, outer, bias)
        known = self.kind.autocorrelations(inner, outer)
        return _Features(fold, sandwich, point, known, self.gradient_field)


class AnalysisRegularizer(TwoLayer):
    """``r(x) = sum psi(K x + b)``, ``R(x) = K^T psi'(K x + b)``, ``J = K^T diag(psi'') K``.

    Args:
        operator: K.
        profile: psi, per feature channel.
        bias: b, shape (features,), or None.
    """

    def __init__(
        self, operator: AnalysisOperator, profile: Profile, bias: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        self.operator, self.profile, self.bias = operator, profile, bias

    @property
    def kind(self) -> AnalysisOperator:
        """K."""
        return self.operator

    def constants(self) -> Constants:
        """The weights of K."""
        return self.operator.weights()

    def _sides(self, constants: Constants) -> tuple[Weights, Weights]:
        return constants, constants

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        features = self.operator.apply_to(x, constants, self.bias)
        return self.profile.value(features).flatten(1).sum(1)

    def _known(self, constants: Constants) -> Traits:
        """J lies between ``-N^T N`` and ``P^T P`` with ``N, P = diag(-+psi'')_+^(1/2) K``; for
        convex potentials the modulus is 0, without a look at K."""
        low, high = self.profile.curvature_range()
        below = cache(lambda: self._square_norm(-low, constants))
        tails = self.profile.tails()
        return Traits(
            modulus=lambda: proved(0.0 - below(), _WHY),
            lipschitz=lambda: proved(max(below(), self._square_norm(high, constants)), _WHY),
            attaining=tails.attaining,
            bounded=tails.bounded_slope,
        )

    def _square_norm(self, curvatures: Tensor, weights: Weights) -> float:
        """``||diag(c_+)^{1/2} K||^2``, from above."""
        gains = curvatures.clamp(min=0.0).sqrt().expand(self.operator.features)
        if not bool(gains.any()):
            return 0.0
        return self.operator.norm(self.operator.weighted(weights, gains)) ** 2


class UntiedRegularizer(TwoLayer):
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
    def kind(self) -> AnalysisOperator:
        """M."""
        return self.mean

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

    def _sides(self, constants: Constants) -> tuple[Weights, Weights]:
        half = len(constants) // 2
        return constants[:half], constants[half:]

    def _known(self, constants: Constants) -> Traits:
        """``s_max`` times what the difference of the operators gives; ``s_max ||K1|| ||K2||``."""
        inner, outer = self._sides(constants)
        steepest = self._steepest()

        @cache
        def sizes() -> tuple[float, float]:
            return self.mean.norm(inner), self.mean.norm(outer)

        return Traits(
            modulus=lambda: _untied_modulus(self.mean, inner, outer, sizes()).times(steepest),
            lipschitz=lambda: proved(
                steepest * math.prod(sizes()), "product of the operators' norms"
            ),
            bounded=self.profile.tails().bounded_slope,
        )

    def _steepest(self) -> float:
        return float(self.profile.curvature_range()[1].max())

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


class _Features(Field):
    """``R(x) = L^T s(K x + b)``; where ``L = K`` the gradient of ``r(x) = sum psi(K x + b)``.

    Args:
        fold: which images R takes.
        sandwich: ``x -> L^T point(K x + b)``.
        point: s, psi and s' on the features of a tile.
        autocorrelations: those of the tied operator next to K and L, called once if at all; None
            where there are none.
        tied: whether ``L = K``.
    """

    def __init__(
        self,
        fold: Fold,
        sandwich: Sandwich,
        point: Pointwise,
        autocorrelations: Callable[[], Tensor] | None,
        tied: bool,
    ) -> None:
        super().__init__(fold)
        self._sandwich, self._point, self._tied = sandwich, point, tied
        self._autocorrelations = autocorrelations

    def _value(self, x: Tensor) -> Tensor:
        return self._sandwich(x, lambda features, tile: self._point.slope(features))

    def _potential_and_value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self._tied:
            return super()._potential_and_value(x)
        # Sums over tiles in double precision: line searches compare potentials to rounding.
        total = x.new_zeros(len(x), dtype=torch.float64)

        def bend(features: Tensor, tile: Tile) -> Tensor:
            energy, slope = self._point.energy_and_slope(features, tile)
            total[tile.samples] += energy
            return slope

        value = self._sandwich(x, bend)
        return total.to(x.dtype), value

    def _linearize(self, x: Tensor) -> Linearization:
        curvatures = [self._point.curvature(features) for features in self._sandwich.features(x)]

        def weigh(features: Tensor, tile: Tile) -> Tensor:
            return features.mul_(curvatures[tile.index])

        def through(sandwich: Sandwich) -> Callable[[Tensor], Tensor]:
            return lambda v: sandwich(v, weigh, linear=True)

        jvp = through(self._sandwich)
        return Linearization(jvp, jvp if self._tied else through(self._sandwich.transposed()))

    def _local_kernels(self, x: Tensor) -> LocalKernels | None:
        """``K^T diag(s'_+) K`` with the mean of s' over each part of the image."""
        if self._autocorrelations is None or not isinstance(self._sandwich, ConvolutionSandwich):
            return None
        strides = sampling(x.shape[2:])
        curvatures = [
            (tile, self._point.curvature(features).clamp_min(0.0))
            for tile, features in self._sandwich.samples(x, strides)
        ]
        return local_kernels(curvatures, self._correlated, (len(x), *x.shape[2:]), strides)

    @cached_property
    def _correlated(self) -> Tensor:
        assert self._autocorrelations is not None
        return self._autocorrelations()


def _untied_modulus(
    operator: AnalysisOperator, inner: Weights, outer: Weights, sizes: tuple[float, float]
) -> Bound:
    """Best of several proved lower bounds of ``<K2 v, S K1 v> / |v|^2`` over diagonal 0 <= S <= 1.

    Entry by entry ``p q >= -(t p - q / t)^2 / 4`` for every t > 0, so that the quotient is at least
    ``-||t K1 - K2 / t||^2 / 4`` for any positive t per feature; and with ``D = K2 - K1`` it is at
    least ``-||D|| min(||K1||, ||K2||)``, since ``K^T S K`` is monotone.
    """
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
    return proved(0.0 + max(candidates), "difference of the two operators")
