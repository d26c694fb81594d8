"""The pairs of Riccio, Ehrhardt and Benning: tied ``K^T s(K x + b)``, untied ``W2 s(W1 x + b)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

import torch
from torch import nn

from equipoise.errors import UnknownNameError
from equipoise.regularizers.analysis import AnalysisRegularizer
from equipoise.regularizers.convolution import Padding
from equipoise.regularizers.operators import ConvolutionChain, DenseOperator
from equipoise.regularizers.profiles import DeadZone, HalfQuadratic, LogCosh, Profile, Quadratic
from equipoise.regularizers.untied import UntiedRegularizer

Pair = TypeVar("Pair", bound=UntiedRegularizer)

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


class TiedConvPair(AnalysisRegularizer):
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
    operator: ConvolutionChain

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
        profile = activation_profile(activation)
        operator = _convolution(channels, filters, kernel_size, dims, padding, zero_mean, scale)
        super().__init__(operator, profile, nn.Parameter(torch.zeros(filters)))
        self.channels, self.dims = channels, dims
        self._config = {
            "name": self.catalogue_name,
            "channels": channels,
            "filters": filters,
            "kernel_size": kernel_size,
            "activation": activation,
            "dims": dims,
            "padding": padding,
            "zero_mean": zero_mean,
            "scale": scale,
        }


class UntiedConvPair(UntiedRegularizer):
    """The convolutional pair of the equilibrium framework.

    Formula: ``R(x) = W2 s(W1 x + b)`` with ``W1 = K1``, ``W2 = K2^T``; both are
    correlation filters, equal at the start, so that ``K2 = K1`` is the tied pair.

    Args:
        As for :class:`TiedConvPair`.

    Raises:
        As :class:`TiedConvPair`.

    References:
        Riccio, Ehrhardt, Benning 2022.
    """

    catalogue_name: ClassVar[str] = "untied-conv"
    mean: ConvolutionChain
    difference: ConvolutionChain

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
        profile = activation_profile(activation)
        mean, difference = (
            _convolution(channels, filters, kernel_size, dims, padding, zero_mean, scale)
            for _ in range(2)
        )
        super().__init__(mean, difference, profile, nn.Parameter(torch.zeros(filters)))
        self.channels, self.dims = channels, dims
        self._config = {
            "name": self.catalogue_name,
            "channels": channels,
            "filters": filters,
            "kernel_size": kernel_size,
            "activation": activation,
            "dims": dims,
            "padding": padding,
            "zero_mean": zero_mean,
            "scale": scale,
        }

    @classmethod
    def from_tied(cls, tied: TiedConvPair) -> UntiedConvPair:
        """Build the untied pair with ``W2 = W1^T`` equal to a tied one."""
        pair = cls(**{key: value for key, value in tied.config.items() if key != "name"})
        return _copy_tied(pair.to(tied.bias), tied)


class DenseTiedPair(AnalysisRegularizer):
    """The dense pair of the bilevel framework, for images of one shape.

    Formula: ``R(x) = K^T s(K x + b)`` on flattened images.

    Args:
        image_shape: (channels, *spatial).
        features: number of rows of K.
        activation: as for :class:`TiedConvPair`.
        scale: norm of each row of K at the start.

    Raises:
        UsageError: if a size is not positive.
        UnknownNameError: for an unknown activation.

    References:
        Riccio, Ehrhardt, Benning 2022.
    """

    catalogue_name: ClassVar[str] = "tied-dense"
    operator: DenseOperator

    def __init__(
        self,
        image_shape: Sequence[int],
        features: int,
        activation: str = "tanh",
        scale: float = 1.0,
    ) -> None:
        profile = activation_profile(activation)
        operator = DenseOperator(image_shape, features, scale)
        super().__init__(operator, profile, nn.Parameter(torch.zeros(features)))
        self.channels, self.dims = image_shape[0], len(image_shape) - 1
        self.image_shape = tuple(image_shape)
        self._config = {
            "name": self.catalogue_name,
            "image_shape": list(image_shape),
            "features": features,
            "activation": activation,
            "scale": scale,
        }


class DenseUntiedPair(UntiedRegularizer):
    """The dense pair of the equilibrium framework, for images of one shape.

    Formula: ``R(x) = W2 s(W1 x + b)`` on flattened images, with ``W1 = K1``, ``W2 = K2^T``, equal
    at the start.

    Args:
        As for :class:`DenseTiedPair`.

    Raises:
        As :class:`DenseTiedPair`.

    References:
        Riccio, Ehrhardt, Benning 2022.
    """

    catalogue_name: ClassVar[str] = "untied-dense"
    mean: DenseOperator
    difference: DenseOperator

    def __init__(
        self,
        image_shape: Sequence[int],
        features: int,
        activation: str = "tanh",
        scale: float = 1.0,
    ) -> None:
        profile = activation_profile(activation)
        mean, difference = (DenseOperator(image_shape, features, scale) for _ in range(2))
        super().__init__(mean, difference, profile, nn.Parameter(torch.zeros(features)))
        self.channels, self.dims = image_shape[0], len(image_shape) - 1
        self.image_shape = tuple(image_shape)
        self._config = {
            "name": self.catalogue_name,
            "image_shape": list(image_shape),
            "features": features,
            "activation": activation,
            "scale": scale,
        }

    @classmethod
    def from_tied(cls, tied: DenseTiedPair) -> DenseUntiedPair:
        """Build the untied pair with ``W2 = W1^T`` equal to a tied one."""
        pair = cls(**{key: value for key, value in tied.config.items() if key != "name"})
        return _copy_tied(pair.to(tied.bias), tied)


def _convolution(
    channels: int,
    filters: int,
    kernel_size: int,
    dims: int,
    padding: Padding,
    zero_mean: bool,
    scale: float,
) -> ConvolutionChain:
    return ConvolutionChain(
        channels,
        (filters,),
        kernel_size,
        dims=dims,
        padding=padding,
        zero_mean=zero_mean,
        scale=scale,
    )


def _copy_tied(pair: Pair, tied: AnalysisRegularizer) -> Pair:
    pair.mean.load_state_dict(tied.operator.state_dict())
    pair.load_state_dict({"bias": tied.state_dict()["bias"]}, strict=False)
    return pair
