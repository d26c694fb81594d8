"""Weights of other packages, read into the regularisers here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.checks import require_not_negative, require_positive
from equipoise.decoding import decoding
from equipoise.errors import UsageError, WeightsError
from equipoise.regularizers.ridge import RidgeRegularizer
from equipoise.regularizers.scaled import Scaled
from equipoise.regularizers.spline_ridge import SplineRidge

#: Side of the grid of frequencies on which the study takes the norm of its filters; WCRR-NN takes
#: it on one that is larger by twice the reach of the chain less 1.
GRID = 256
#: How entries of the study's files are called; the first filters are stored before their means are
#: subtracted.
_FIRST = "filters.0.parametrizations.weight.original"
_WRAPPED = "regularizer."
#: The same in the files of CRR-NN and WCRR-NN, and their other entries.
_CONVOLUTIONS = "conv_layer.conv_layers."
_RAW, _PLAIN = "parametrizations.weight.original", "weight"
_OF_CRR = {"lmbd", "mu", "L", "activation.coefficients_vect"}
_RISING, _FALLING, _SCALING = (
    f"{name}.coefficients" for name in ("activation_cvx", "activation_ccv", "spline_scaling")
)
_OF_WCRR = {"mu_", _RISING, _FALLING, _SCALING}
#: The least lmbd and mu of CRR-NN, and what WCRR-NN adds to the noise in 255ths.
LEAST_STRENGTH, LEAST_SCALE, NOISE_OFFSET = 1e-4, 1e-2, 1e-5


def from_learned_regularizers(path: str | Path, weak_convexity: float) -> Scaled:
    """Read a ridge regulariser of the package LearnedRegularizers.

    Formula: with the filters K divided by the root of the largest value of their summed power
    spectra on 256 x 256 frequencies,
    ``r(x) = e^(alpha - 2 t) sum_k sum_p e^(-2 s_k) [h(e^b z_k) / e^b - c h(z_k)]``,
    ``z_k = e^(s_k) (K e^t x)_k``, h the Huber function. Files without alpha and t have 0.

    Args:
        path: a file of ``WCRR``, alone or in its ``ParameterLearningWrapper``, as ``torch.save``
            wrote the state; no code in it is run.
        weak_convexity: c, which the file does not hold: 0 for CRR, 1 for WCRR.

    Returns:
        R in float32 with the same values; ``||K||`` is proved here anew and may differ from 1.

    Raises:
        WeightsError: if the file is unreadable or holds something else.
        UsageError: if weak_convexity is negative.

    References:
        Hertrich, Wong, Denker et al. 2025.
    """
    require_not_negative("weak_convexity", weak_convexity, UsageError)
    path = Path(path)
    with _reading(path) as state:
        return _converted(_flat(state, path), weak_convexity)


def from_crr_nn(path: str | Path, radius: float = 0.1) -> Scaled:
    """Read a convex ridge regulariser of Goujon et al. 2023 (the package CRR-NN).

    Formula: ``r(x) = lmbd / mu sum_k sum_p psi_k((W mu x)_k)``, whose field is
    ``lmbd W^T psi'(W mu x)``; ``psi_k'`` are linear splines with 0 at 0, the slopes between the
    file's coefficients where positive, and constant from the last knots but one on. The strength of
    the result is ``lmbd mu``, its scale mu, and its inner field ``W^T psi'(W x)``, the package's
    ``grad``. Training with one step (``t_1``) does not learn lmbd.

    Args:
        path: a checkpoint of the package, as its training wrote it; no code in it is run.
        radius: the outermost knots are at plus and minus this; ``knots_range`` in the
            ``config.json`` of the checkpoint.

    Returns:
        R in float32 with the same values, its strength and scale free to be tuned.

    Raises:
        WeightsError: if the file is unreadable or holds something else.
        UsageError: if radius is not positive.

    References:
        Goujon, Neumayer, Bohra, Ducotterd, Unser 2023.
    """
    require_positive("radius", radius, UsageError)
    with _reading(path) as content:
        state = _entries(content, path, _OF_CRR)
        layers = _layers(state, path, _RAW)
        coefficients = state["activation.coefficients_vect"].reshape(len(layers[-1]), -1)
        curvatures = _slopes(coefficients, radius, math.inf)
        ridge = SplineRidge.from_arrays(
            [layer.float() for layer in layers],
            torch.ones(len(curvatures)),
            curvatures.float(),
            radius,
        )
        strength = max(float(state["lmbd"]), LEAST_STRENGTH)
        scale = max(float(state["mu"]), LEAST_SCALE)
        return Scaled(ridge, strength * scale, scale)


def from_wcrr_nn(
    path: str | Path,
    noise: float,
    weak_convexity: float,
    *,
    radius: float = 0.1,
    noise_range: tuple[float, float] = (0.0, 30 / 255),
    square_norm: float | None = None,
) -> SplineRidge:
    """Read a weakly convex ridge regulariser of Goujon, Neumayer, Unser 2024 (WCRR-NN).

    Formula: ``r(x) = sum_k s_k^-2 sum_p psi(s_k (W x)_k / sqrt(L))``, ``psi' = e^mu v - c u``,
    where v and u are odd linear splines with slopes in [0, 1] and constant from the last knots but
    one on, and ``log s_k`` is a linear spline of the noise, less ``log(255 noise + 1e-5)``.

    Args:
        path: a checkpoint of the package, as its training wrote it; no code in it is run.
        noise: standard deviation of the noise that is to be removed, for images from 0 to 1; the
            file holds one regulariser for each.
        weak_convexity: c; ``rho_wcvx`` in the ``config.json`` of the checkpoint: 1 for WCRR-CNN, 0
            for CRR-CNN.
        radius: the outermost knots of v and u are at plus and minus this; ``x_max`` of
            ``spline_activation`` there.
        noise_range: the noise at the first and the last knot of the scales, for images from 0 to
            1; ``noise_range`` over 255 there.
        square_norm: L. By default the largest value of the summed power spectra of the filters, as
            when the package trains and loads; its tests take the estimate of a power iteration in
            place of it, which is larger because of the zero padding.

    Returns:
        R in float32 with the same values; what is proved of its modulus is less than -c, since L is
        no bound of ``||W||^2``.

    Raises:
        WeightsError: if the file is unreadable or holds something else.
        UsageError: if the noise lies outside of its range, that is empty, weak_convexity is
            negative, or radius or square_norm is not positive.

    References:
        Goujon, Neumayer, Unser 2024.
    """
    require_not_negative("weak_convexity", weak_convexity, UsageError)
    require_positive("radius", radius, UsageError)
    if square_norm is not None:
        require_positive("square_norm", square_norm, UsageError)
    low, high = noise_range
    if not (0 <= low <= noise <= high and low < high < math.inf):
        raise UsageError(f"The noise must lie in the range {noise_range} of the file, got {noise}.")
    with _reading(path) as content:
        state = _entries(content, path, _OF_WCRR)
        layers = _layers(state, path, _PLAIN)
        if square_norm is None:
            reach = sum(layer.shape[-1] // 2 for layer in layers)
            square_norm = float(_norm(layers, GRID - 1 + 2 * reach)) ** 2
        layers[0] = layers[0] / square_norm**0.5
        scales = _at(state[_SCALING], (noise - low) / (high - low)).exp()
        scales = scales / (255 * noise + NOISE_OFFSET)
        layers[-1] = layers[-1] * scales.reshape(-1, 1, 1, 1)
        rising, falling = (_odd(_slopes(state[key], radius, 1.0)) for key in (_RISING, _FALLING))
        curvatures = state["mu_"].exp() * rising - weak_convexity * falling
        return SplineRidge.from_arrays(
            [layer.float() for layer in layers],
            scales.pow(-2).float(),
            curvatures.expand(len(layers[-1]), -1).float(),
            radius,
        )


@contextlib.contextmanager
def _reading(path: str | Path) -> Iterator[Any]:
    """What a file of PyTorch holds; whatever is wrong with it in the block is a WeightsError."""
    with decoding(path, "weights file of PyTorch", WeightsError, "save its state_dict again"):
        try:
            yield torch.load(path, map_location="cpu", weights_only=True)
        except UsageError as error:
            raise WeightsError(f"'{path}' does not hold a regularizer: {error}") from error


def _entries(content: Any, path: str | Path, others: set[str]) -> dict[str, Tensor]:
    """The entries of a checkpoint's regulariser, in float64.

    Raises:
        WeightsError: if there are others besides the convolutions', or some are missing, or are not
            finite numbers.
    """
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise WeightsError(f"'{path}' is not a checkpoint: it has no dictionary 'state_dict'.")
    if {key for key in state if not str(key).startswith(_CONVOLUTIONS)} != others:
        raise WeightsError(
            f"'{path}' is not a ridge regulariser of this kind: it has the entries "
            f"{sorted(map(str, state))}, expected {sorted(others)} and convolutions."
        )
    bad = [k for k, v in state.items() if not (isinstance(v, Tensor) and v.isfinite().all())]
    if bad:
        raise WeightsError(f"Not all entries of '{path}' are finite numbers: {', '.join(bad)}.")
    return {key: v.detach().double() for key, v in state.items()}


def _layers(state: dict[str, Tensor], path: str | Path, later: str) -> list[Tensor]:
    """The filters of the convolutions, without the means of those that are stored raw.

    Args:
        state: all entries.
        path: of the file.
        later: how the filters of all convolutions but the first are stored.

    Raises:
        WeightsError: if they are stored otherwise.
    """
    found = {key for key in state if key.startswith(_CONVOLUTIONS)}
    kinds = [_RAW if i == 0 else later for i in range(len(found))]
    names = [f"{_CONVOLUTIONS}{i}.{kind}" for i, kind in enumerate(kinds)]
    if found != set(names):
        raise WeightsError(f"'{path}' has the convolutions {sorted(found)}, expected {names}.")
    return [
        state[name] - state[name].mean(dim=(1, 2, 3), keepdim=True)
        if name.endswith(_RAW)
        else state[name]
        for name in names
    ]


def _slopes(coefficients: Tensor, radius: float, steepest: float) -> Tensor:
    """Slopes between equispaced knots, clipped to ``[0, steepest]`` and 0 in the outer intervals.

    Args:
        coefficients: values at the knots, shape (splines, knots).
        radius: of the grid.
        steepest: largest slope.
    """
    slopes = coefficients.diff() * (coefficients.shape[1] - 1) / (2.0 * radius)
    slopes = slopes.clamp(0.0, steepest)
    slopes[:, [0, -1]] = 0.0
    return slopes


def _odd(slopes: Tensor) -> Tensor:
    """The slopes of the odd part of a spline."""
    return 0.5 * (slopes + slopes.flip(1))


def _at(values: Tensor, place: float) -> Tensor:
    """Linear interpolation between equispaced values, shape (splines, knots), at a place in
    [0, 1]."""
    last = values.shape[1] - 1
    left = min(int(place * last), last - 1)
    return torch.lerp(values[:, left], values[:, left + 1], place * last - left)


def _flat(state: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of the regulariser and of its wrapper under their bare names.

    Raises:
        WeightsError: if there are others, or some are missing.
    """
    tensors = isinstance(state, dict) and all(isinstance(v, Tensor) for v in state.values())
    found = {str(k).removeprefix(_WRAPPED): v.float() for k, v in state.items()} if tensors else {}
    layers = {key for key in found if key.startswith("filters.")}
    expected = {_FIRST, *(f"filters.{i}.weight" for i in range(1, len(layers)))}
    if layers != expected or found.keys() - layers - {"alpha", "scale"} != {"scaling", "beta"}:
        raise WeightsError(
            f"'{path}' is not a ridge regulariser of LearnedRegularizers: it has the entries "
            f"{sorted(map(str, state)) if isinstance(state, dict) else type(state).__name__}."
        )
    return found


def _converted(state: dict[str, Tensor], weak_convexity: float) -> Scaled:
    count = sum(key.startswith("filters.") for key in state)
    first = state[_FIRST]
    layers = [first - first.mean(dim=(1, 2, 3), keepdim=True)]
    layers += [state[f"filters.{i}.weight"] for i in range(1, count)]
    scaling = state["scaling"].double().flatten()
    layers[0] = (layers[0].double() / _norm(layers, GRID)).float()
    layers[-1] = layers[-1] * scaling.exp().float().reshape(-1, 1, 1, 1)
    slope = state["beta"].double().exp()
    ridge = RidgeRegularizer.from_arrays(
        layers, (-2 * scaling).exp().float(), slope.float(), weak_convexity
    )
    alpha, scale = (float(state.get(key, torch.zeros(()))) for key in ("alpha", "scale"))
    return Scaled(ridge, math.exp(alpha), math.exp(scale))


def _norm(layers: list[Tensor], grid: int) -> Tensor:
    """The root of the largest sum of the power spectra of the chain's filters on a square grid of
    that side."""
    reach = sum(layer.shape[-1] // 2 for layer in layers)
    impulse = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    impulse[..., reach, reach] = 1.0
    for layer in layers:
        impulse = F.conv2d(impulse, layer.double(), padding=layer.shape[-1] // 2)
    spectrum = torch.fft.fft2(impulse, s=(grid, grid)).abs().square().sum(1)
    return spectrum.max().sqrt()
