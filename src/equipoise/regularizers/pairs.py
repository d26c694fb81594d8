"""The pairs of Riccio, Ehrhardt and Benning: tied ``K^T s(K x + b)``, untied ``W2 s(W1 x + b)``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Self

import torch
from torch import nn

from equipoise.convolutions.convolution import Padding
from equipoise.errors import UnknownNameError
from equipoise.regularizers.operators import AnalysisOperator, ConvolutionChain, DenseOperator
from equipoise.regularizers.profiles import DeadZone, HalfQuadratic, LogCosh, Profile, Quadratic
from equipoise.regularizers.two_layer import AnalysisRegularizer, TwoLayer, UntiedRegularizer

#: Activations by name; each is monotone with slopes in [0, 1].
ACTIVATIONS: dict[str, type[Profile]] = {
    "identity": Quadratic,
    "relu": HalfQuadratic,
    "soft-shrink": DeadZone,
    "tanh": LogCosh,
}


def activation_profile(name: str) -> Profile:
    """The potential whose derivative is the activation of that name.

    Raises:
        UnknownNameError: with the nearest valid name.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


class _Pair(TwoLayer):
    """A pair over operators that are made one like the other."""

    @abstractmethod
    def _assemble(self, make: Callable[[], AnalysisOperator], profile: Profile) -> None:
        """Make the operators and the bias."""


class TiedPair(AnalysisRegularizer, _Pair):
    """``R(x) = K^T s(K x + b)``, the pair of the bilevel framework."""

    def _assemble(self, make: Callable[[], AnalysisOperator], profile: Profile) -> None:
        operator = make()
        super().__init__(operator, profile, _zeros(operator))


class UntiedPair(UntiedRegularizer, _Pair):
    """``R(x) = W2 s(W1 x + b)``, the pair of the equilibrium framework."""

    def _assemble(self, make: Callable[[], AnalysisOperator], profile: Profile) -> None:
        mean, difference = make(), make()
        super().__init__(mean, difference, profile, _zeros(mean))

    @classmethod
    def from_tied(cls, tied: TiedPair) -> Self:
        """Build the untied pair with ``W2 = W1^T`` equal to a tied one of such operators."""
        pair = cls(**tied.arguments).to(tied.bias)
        pair.mean.load_state_dict(tied.operator.state_dict())
        pair.load_state_dict({"bias": tied.state_dict()["bias"]}, strict=False)
        return pair


class _Convolutional(_Pair):
    """The arguments of pairs of convolutions."""

    def __init__(
        self,
        channels: int = 1,
        filters: int = 32,
        kernel_size: int = 7,
        activation: str = "tanh",
        *,
        dims: int = 2,
        padding: Padding = "zero",
        zero_mean: bool = True,
        scale: float = 10.0,
    ) -> None:
        make = partial(
            ConvolutionChain,
            channels,
            (filters,),
            kernel_size,
            dims=dims,
            padding=padding,
            zero_mean=zero_mean,
            scale=scale,
        )
        self._assemble(make, activation_profile(activation))
        self.channels, self.dims = channels, dims


class _Dense(_Pair):
    """The arguments of pairs of matrices."""

    def __init__(
        self,
        image_shape: Sequence[int],
        features: int,
        activation: str = "tanh",
        scale: float = 1.0,
    ) -> None:
        make = partial(DenseOperator, image_shape, features, scale)
        self._assemble(make, activation_profile(activation))
        self.channels, self.dims = image_shape[0], len(image_shape) - 1
        self.image_shape = tuple(image_shape)


class TiedConvPair(_Convolutional, TiedPair):
    """The convolutional pair of the bilevel framework.

    Formula: ``R(x) = K^T s(K x + b)``, the gradient of ``sum psi(K x + b)`` with ``psi' = s``.

    Args:
        channels: number of image channels; 1 acts on every channel by itself.
        filters: number of filters.
        kernel_size: odd size of the filters.
        activation: s, one of ``"identity"``, ``"relu"``, ``"soft-shrink"``, ``"tanh"``.
        dims: number of spatial axes.
        padding: ``"zero"`` or ``"circular"``.
        zero_mean: whether the filters are kept zero-mean.
        scale: norm of each filter at the start (cosine filters): the contrast 1 / scale is where
            activations begin to bend.

    Raises:
        UsageError: if a size is out of range.
        UnknownNameError: for an unknown activation or padding.

    References:
        Riccio, Ehrhardt, Benning 2022.
    """

    catalogue_name: ClassVar[str] = "tied-conv"


class UntiedConvPair(_Convolutional, UntiedPair):
    """The convolutional pair of the equilibrium framework.

    Formula: ``R(x) = W2 s(W1 x + b)`` with ``W1 = K1``, ``W2 = K2^T``; both are correlation
    filters, equal at the start, so that ``K2 = K1`` is the tied pair. Arguments, errors and
    reference as of :class:`TiedConvPair`.
    """

    catalogue_name: ClassVar[str] = "untied-conv"


class DenseTiedPair(_Dense, TiedPair):
    """The dense pair of the bilevel framework, for images of one shape.

    Formula: ``R(x) = K^T s(K x + b)`` on flattened images.

    Args:
        image_shape: (channels, *spatial).
        features: number of rows.
        activation: s, one of ``"identity"``, ``"relu"``, ``"soft-shrink"``, ``"tanh"``.
        scale: norm of each row at the start.

    Raises:
        UsageError: if a size is not positive.
        UnknownNameError: for an unknown activation.

    References:
        Riccio, Ehrhardt, Benning 2022.
    """

    catalogue_name: ClassVar[str] = "tied-dense"


class DenseUntiedPair(_Dense, UntiedPair):
    """The dense pair of the equilibrium framework, for images of one shape.

    Formula: ``R(x) = W2 s(W1 x + b)`` on flattened images, with ``W1 = K1``, ``W2 = K2^T``, equal
    at the start. Arguments, errors and reference as of :class:`DenseTiedPair`.
    """

    catalogue_name: ClassVar[str] = "untied-dense"


def _zeros(operator: AnalysisOperator) -> nn.Parameter:
    return nn.Parameter(torch.zeros(operator.features))
