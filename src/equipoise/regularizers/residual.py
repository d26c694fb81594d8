"""Residual operators ``R = Id - N`` of networks and of deepinv denoisers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from equipoise.checks import require_positive
from equipoise.errors import InputError, UsageError
from equipoise.regularizers.base import Constants, Regularizer


class Residual(Regularizer):
    """``R(x) = x - N(x)`` for any network ``N: X -> X``; its zeros are the fixed points of N.

    Nothing is assumed of N, so nothing is known of R: it is no gradient field and has no bounds.
    A network with batch normalisation must be in evaluation mode, or samples depend on each other.

    Args:
        network: a ``torch.nn.Module`` (or any callable) that keeps the shape of its input and is
            differentiable in it.
        channels: number of image channels that N expects, 1 to apply it to every channel by
            itself; None hands images over as they are.

    Raises:
        UsageError: if the network cannot be called.
    """

    gradient_field = False

    def __init__(self, network: Callable[[Tensor], Tensor], channels: int | None = None) -> None:
        super().__init__()
        if not callable(network):
            raise UsageError(
                f"The network must be a torch.nn.Module or a callable x -> N(x), "
                f"got {type(network).__name__}."
            )
        self.network = network
        self.channels = channels

    def _apply_network(self, x: Tensor) -> Tensor:
        return self.network(x)

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        image = self._apply_network(x)
        if image.shape != x.shape:
            raise InputError(
                f"R = Id - N needs a network that keeps the shape, but N turned {tuple(x.shape)} "
                f"into {tuple(image.shape)}: pad the images, or use a network with same padding."
            )
        return x - image


class ResidualDenoiser(Residual):
    """``R(x) = x - D(x, sigma)`` of a deepinv denoiser D (regularisation by denoising).

    References:
        Romano, Elad and Milanfar 2017, "The little engine that could".

    Args:
        denoiser: a deepinv denoiser, called as ``denoiser(x, sigma)``.
        sigma: its noise level, a positive number.
        channels: as for :class:`Residual`.

    Raises:
        UsageError: if sigma is not positive or the denoiser cannot be called.
    """

    def __init__(
        self,
        denoiser: Callable[[Tensor, float], Tensor],
        sigma: float,
        channels: int | None = None,
    ) -> None:
        super().__init__(denoiser, channels)  # type: ignore[arg-type]
        require_positive("The denoiser's noise level sigma", sigma, UsageError)
        self.sigma = float(sigma)

    def _apply_network(self, x: Tensor) -> Tensor:
        return self.network(x, self.sigma)  # type: ignore[call-arg]
