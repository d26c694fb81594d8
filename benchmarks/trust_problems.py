"""Random small equations with data as people have them: offsets, outliers, odd scales and masks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from deepinv.optim.data_fidelity import L2, DataFidelity, PoissonLikelihood
from deepinv.physics import Blur, BlurFFT, Denoising, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.equation import Equation
from equipoise.regularizers import Regularizer, Scaled, build

#: Catalogue names with arguments that keep the fields small.
FIELDS: dict[str, dict[str, Any]] = {
    "tikhonov": {},
    "differences": {"name": "tikhonov", "operator": "gradient"},
    "tv": {},
    "fields-of-experts": {"filters": 4, "kernel_size": 3},
    "crr": {"filters": (2, 4), "kernel_size": 3},
    "wcrr": {"filters": (2, 4), "kernel_size": 3},
    "tied-conv": {"filters": 4, "kernel_size": 3},
    "untied-conv": {"filters": 4, "kernel_size": 3},
    "contractive": {"width": 4, "depth": 2},
    "scaled": {"inner": {"name": "crr", "filters": (2, 4), "kernel_size": 3}},
}
#: Those that know no contrast; of the others it is scaled with the data.
LINEAR = ("tikhonov", "differences", "contractive")
PHYSICS = (
    "denoise",
    "denoise",
    "mask",
    "weights",
    "two halves",
    "masks of each sample",
    "masks in plain Python",
    "periodic blur",
    "valid blur",
    "matrix",
    "rows of many sizes",
)
#: Of counts.
BACKGROUND = 0.5


class Matrix(LinearPhysics):
    """A matrix (p, n) between images (C, H, W) and vectors."""

    def __init__(self, matrix: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.shape = shape

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return x.flatten(1) @ self.matrix.mT

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return (y @ self.matrix).reshape(-1, *self.shape)


class PlainMasks(LinearPhysics):
    """One mask for each sample, in a list that no buffer shows."""

    def __init__(self, masks: list[Tensor]) -> None:
        super().__init__()
        self.masks = masks

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        return torch.stack([mask * one for mask, one in zip(self.masks, x, strict=False)])

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        return self.A(y)


class Huber(DataFidelity):
    """``sum huber(u - y)``: least squares near the data, absolute values beyond ``width``."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def d(self, u: Tensor, y: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return F.huber_loss(u, y, reduction="sum", delta=self.width).reshape(1)


@dataclass(frozen=True, eq=False)
class Problem:
    """One random problem in its own precision and, with the same numbers, in float64.

    Args:
        seed: that made it.
        words: what it is, by aspect.
        equation: in its own precision.
        exact: the same numbers in float64.
        physics: the operator of one sample in float64.
        start: where the solve starts, or None for the usual start.
        tolerance: relative.
    """

    seed: int
    words: dict[str, str]
    equation: Equation
    exact: Equation
    physics: Callable[[int], LinearPhysics]
    start: Tensor | None
    tolerance: float

    def copies(self, sample: int, number: int) -> Equation:
        """The equation of one sample in float64, several times."""
        exact, alpha = self.exact, self.exact.alpha
        if isinstance(alpha, Tensor):
            alpha = float(alpha[sample])
        y = exact.y[sample : sample + 1]
        y = y.expand(number, *y.shape[1:])
        physics = self.physics(sample)
        return Equation(physics, y, exact.regularizer, alpha, exact.data_fidelity)

    @property
    def usual_scale(self) -> bool:
        """Whether data are between 1e-6 and 1e6 in size."""
        return 1e-6 <= float(self.words["scale"]) <= 1e6


class Draw:
    """Random choices that a seed fixes."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        """A number between two others."""
        part = torch.rand((), generator=self.generator, dtype=torch.float64)
        return low + (high - low) * float(part)

    def decades(self, low: float, high: float) -> float:
        """``10**u`` with u uniform."""
        return 10.0 ** self.uniform(low, high)

    def side(self) -> int:
        """Of an image, from 4 to 24 pixels, as many small ones as large ones by ratio."""
        return int(self.decades(math.log10(4.0), math.log10(24.99)))

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, share: float) -> bool:
        """True in a share of the cases."""
        return self.uniform(0.0, 1.0) < share

    def of(self, choices: Any) -> Any:
        """One of some things."""
        listed = list(choices)
        return listed[self.whole(0, len(listed) - 1)]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers in float64."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def mask(self, share: float, *shape: int) -> Tensor:
        """1 in about a share of the places, 0 elsewhere, float64."""
        return (torch.rand(shape, generator=self.generator, dtype=torch.float64) < share).double()


def draw_problem(seed: int) -> Problem:
    """Make the problem of a seed."""
    draw = Draw(seed)
    dtype = torch.float32 if draw.chance(0.5) else torch.float64
    batch, channels = draw.whole(1, 3), 1 if draw.chance(0.8) else draw.whole(2, 3)
    shape = (channels, draw.side(), draw.side())
    field, regularizer = _field(draw, seed)
    name = draw.of(PHYSICS)
    build_physics, alone = _physics(draw, name, batch, shape, dtype)
    scale = 1.0 if draw.chance(0.5) else draw.decades(-6, 6)
    if draw.chance(0.15):
        scale = draw.decades(-30, 30)
    fidelity_name, fidelity = _fidelity(draw, name, scale)
    truth = _truth(draw, batch, shape)
    clean = build_physics(torch.float64).A(truth)
    y = clean + draw.of((0.0, 0.01, 0.1)) * draw.normal(*clean.shape)
    offset = 0.0
    if fidelity_name == "poisson":
        counts = 30.0 * (clean.clamp_min(0.0) + BACKGROUND)  # none is 0: then there is no solution
        y = torch.poisson(counts, generator=draw.generator) / 30.0
    elif draw.chance(0.08):
        offset = draw.of((-1.0, 1.0)) * draw.decades(-0.5, 3.5)
        y = y + offset * build_physics(torch.float64).A(torch.ones_like(truth))
    outliers = "none"
    if fidelity_name != "poisson" and y[0].numel() >= 100 and draw.chance(0.1):
        size = draw.decades(0, 4)
        outliers = f"{size:.0e}"
        for one in y:
            places = torch.randperm(one.numel(), generator=draw.generator)[: one.numel() // 100]
            one.view(-1)[places] += draw.of((-1.0, 1.0)) * size
    y = (scale * y).to(dtype)
    alpha: float | Tensor = draw.decades(-4, 2)
    if draw.chance(0.2):
        alpha = torch.tensor([draw.decades(-4, 2) for _ in range(batch)], dtype=dtype)
    if scale != 1.0 and field not in LINEAR:
        regularizer = Scaled(regularizer, scale=1.0 / scale)
    own = copy.deepcopy(regularizer).to(dtype)
    exact = copy.deepcopy(own).double()
    equation = Equation(build_physics(dtype), y, own, alpha, fidelity)
    wide = alpha.double() if isinstance(alpha, Tensor) else alpha
    reference = Equation(build_physics(torch.float64), y.double(), exact, wide, fidelity)
    start = None
    if fidelity_name != "poisson" and draw.chance(0.3):
        start = (scale * draw.normal(batch, *shape)).to(dtype)
    least = -4 if dtype == torch.float32 else -6
    tolerance = 2e-4 if draw.chance(0.6) else draw.decades(least, -2)
    words = {
        "field": field,
        "physics": name,
        "fidelity": fidelity_name,
        "dtype": str(dtype).removeprefix("torch."),
        "scale": f"{scale:.1e}",
        "offset": f"{offset:.0e}",
        "outliers": outliers,
        "start": "usual" if start is None else "random",
    }
    return Problem(seed, words, equation, reference, alone, start, tolerance)


def _field(draw: Draw, seed: int) -> tuple[str, Regularizer]:
    label = draw.of(FIELDS)
    arguments = {"name": label, **FIELDS[label]}
    if label == "tv":
        arguments["epsilon"] = draw.decades(-2.5, -1)
    torch.manual_seed(seed)
    regularizer = build(**arguments).double()
    with torch.no_grad():
        for parameter in regularizer.parameters():
            parameter.add_(draw.of((0.0, 0.03, 0.1)) * draw.normal(*parameter.shape))
    return label, regularizer


Builder = Callable[[torch.dtype], LinearPhysics]


def _physics(
    draw: Draw, name: str, batch: int, shape: tuple[int, ...], dtype: torch.dtype
) -> tuple[Builder, Callable[[int], LinearPhysics]]:
    """The operator in any precision, with numbers that the dtype can hold, and of one sample."""
    if name == "denoise":
        return lambda kind: Denoising(), lambda sample: Denoising()
    tensors: list[Tensor] = []
    if name == "mask":
        tensors = [draw.mask(draw.uniform(0.2, 0.9), *shape)[None]]
    elif name == "weights":
        tensors = [10.0 ** (-3.0 * torch.rand(shape, generator=draw.generator).double())[None]]
    elif name == "two halves":
        halves = torch.ones(1, *shape, dtype=torch.float64)
        halves[..., : shape[1] // 2, :] = draw.decades(-3, 0)
        tensors = [halves]
    elif name in ("masks of each sample", "masks in plain Python"):
        tensors = [draw.mask(draw.uniform(0.3, 1.0), *shape) for _ in range(batch)]
    elif name.endswith("blur"):
        size = draw.of((3, 5)) if name.startswith("periodic") else 3
        kernel = torch.rand(1, 1, size, size, generator=draw.generator).double() + 0.05
        tensors = [kernel / kernel.sum()]
    else:
        n = math.prod(shape)
        p = max(2, int(n * draw.uniform(0.4, 1.5)))
        matrix = draw.normal(p, n) / math.sqrt(p)
        if name.startswith("rows"):
            matrix = matrix * 10.0 ** (-1.5 * torch.rand(p, 1, generator=draw.generator).double())
        tensors = [matrix]
    rounded = [tensor.to(dtype) for tensor in tensors]

    def make(kind: torch.dtype) -> LinearPhysics:
        values = [tensor.to(kind) for tensor in rounded]
        if name == "masks in plain Python":
            return PlainMasks(values)
        if name == "masks of each sample":
            return Inpainting(shape, mask=torch.stack(values))
        if name == "periodic blur":
            return BlurFFT(shape, filter=values[0])
        if name == "valid blur":
            return Blur(filter=values[0], padding="valid")
        if "matrix" in name or name.startswith("rows"):
            return Matrix(values[0], shape)
        return Inpainting(shape, mask=values[0])

    def alone(sample: int) -> LinearPhysics:
        if name.startswith("masks"):
            return Inpainting(shape, mask=rounded[sample].double()[None])
        return make(torch.float64)

    return make, alone


def _fidelity(draw: Draw, physics: str, scale: float) -> tuple[str, DataFidelity | None]:
    kind = draw.of(("none",) * 6 + ("weighted", "huber", "poisson"))
    if kind == "weighted":
        return kind, L2(sigma=draw.decades(-1, 1))
    if kind == "huber":
        return kind, Huber(scale * 0.3)
    if kind == "poisson" and scale == 1.0 and physics in ("denoise", "periodic blur"):
        return kind, PoissonLikelihood(gain=1 / 30, bkg=BACKGROUND)
    return "none", None


def _truth(draw: Draw, batch: int, shape: tuple[int, ...]) -> Tensor:
    """Steps, texture, or nothing on a background."""
    kind = draw.of(("steps", "steps", "smooth", "sparse", "constant"))
    images = draw.of((0.0, 0.2, 0.5)) + torch.zeros(batch, *shape, dtype=torch.float64)
    if kind == "steps":
        images[..., shape[1] // 3 :, :] += 0.4
        images[..., : shape[2] // 2] += 0.1
    elif kind == "smooth":
        images += 0.3 * torch.sin(torch.arange(shape[2], dtype=torch.float64) / 3.0).add(1.0)
    elif kind == "sparse":
        images += draw.mask(0.1, *images.shape)
    return images.clamp_min(0.0)
