"""Weights of other packages, read into the regularisers here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import UsageError, WeightsError
from equipoise.regularizers.ridge import RidgeRegularizer
from equipoise.regularizers.scaled import Scaled

#: Side of the grid of frequencies on which the study takes the norm of its filters.
GRID = 256
#: How entries of the study's files are called; the first filters are stored before their means are
#: subtracted.
_FIRST = "filters.0.parametrizations.weight.original"
_WRAPPED = "regularizer."


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
    if not (weak_convexity >= 0 and math.isfinite(weak_convexity)):
        raise UsageError(f"weak_convexity is at least 0, got {weak_convexity}.")
    path = Path(path)
    with decoding(path, "weights file of PyTorch", WeightsError, "save its state_dict again"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        return _converted(_flat(state, path), weak_convexity, path)


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


def _converted(state: dict[str, Tensor], weak_convexity: float, path: Path) -> Scaled:
    count = sum(key.startswith("filters.") for key in state)
    first = state[_FIRST]
    layers = [first - first.mean(dim=(1, 2, 3), keepdim=True)]
    layers += [state[f"filters.{i}.weight"] for i in range(1, count)]
    scaling = state["scaling"].double().flatten()
    layers[0] = (layers[0].double() / _norm(layers)).float()
    layers[-1] = layers[-1] * scaling.exp().float().reshape(-1, 1, 1, 1)
    slope = state["beta"].double().exp()
    ridge = RidgeRegularizer.from_arrays(
        layers, (-2 * scaling).exp().float(), slope.float(), weak_convexity
    )
    alpha, scale = (float(state.get(key, torch.zeros(()))) for key in ("alpha", "scale"))
    return Scaled(ridge, math.exp(alpha), math.exp(scale))


def _norm(layers: list[Tensor]) -> Tensor:
    """The root of the largest sum of the power spectra of the chain's filters on the grid."""
    reach = sum(layer.shape[-1] // 2 for layer in layers)
    impulse = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    impulse[..., reach, reach] = 1.0
    for layer in layers:
        impulse = F.conv2d(impulse, layer.double(), padding=layer.shape[-1] // 2)
    spectrum = torch.fft.fft2(impulse, s=(GRID, GRID)).abs().square().sum(1)
    return spectrum.max().sqrt()
