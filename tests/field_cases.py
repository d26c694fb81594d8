"""Fields of every kind at sizes that runs of pixels and tiles do not fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from equipoise.regularizers import Regularizer, build
from equipoise.vectors import norm

#: Arguments with filter banks as large as in use, and shapes that blocks and tiles do not fit.
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "chain": ("crr", {"filters": (4, 8, 64)}, (1, 1, 61, 43)),
    "weakly convex chain": ("wcrr", {"filters": (4, 8, 64)}, (2, 1, 37, 29)),
    "periodic chain": ("crr", {"filters": (3, 16), "padding": "circular"}, (1, 1, 40, 53)),
    "colour chain": ("wcrr", {"filters": (4, 32), "channels": 3}, (2, 3, 24, 31)),
    "gray on colour": ("crr", {"filters": (4, 8)}, (2, 3, 24, 31)),
    "signals": ("crr", {"filters": (4, 16), "dims": 1}, (3, 1, 517)),
    "volumes": ("crr", {"filters": (2, 8), "kernel_size": 3, "dims": 3}, (1, 1, 11, 14, 17)),
    "student-t": ("fields-of-experts", {"filters": 24}, (1, 1, 47, 33)),
    "splines": ("fields-of-experts", {"filters": 12, "expert": "spline"}, (1, 1, 33, 20)),
    "spline chain": ("spline-ridge", {"filters": (3, 12)}, (1, 1, 33, 20)),
    "free splines": (
        "spline-ridge",
        {"filters": (2, 6), "monotone": False, "padding": "circular", "channels": 3},
        (2, 3, 24, 31),
    ),
    "periodic experts": (
        "fields-of-experts",
        {"expert": "log-cosh", "padding": "circular"},
        (1, 1, 33, 47),
    ),
    "tied pair": ("tied-conv", {"activation": "soft-shrink"}, (2, 1, 33, 27)),
    "untied pair": ("untied-conv", {"filters": 20}, (1, 1, 45, 32)),
    "contractive": ("contractive", {"width": 20, "depth": 3}, (1, 1, 45, 32)),
    "scaled": (
        "scaled",
        {"inner": {"name": "wcrr", "filters": (4, 8)}, "scale": 3.0},
        (1, 1, 40, 32),
    ),
    "sum": (
        "sum",
        {
            "parts": [
                {"name": "crr", "filters": (4, 8)},
                {"name": "tikhonov", "operator": "gradient"},
            ]
        },
        (2, 3, 24, 31),
    ),
    "dense": ("tied-dense", {"image_shape": [1, 4, 5], "features": 6}, (3, 1, 4, 5)),
    "untied dense": ("untied-dense", {"image_shape": [1, 4, 5], "features": 6}, (3, 1, 4, 5)),
    "total variation": ("tv", {}, (2, 1, 12, 17)),
    "tikhonov": ("tikhonov", {}, (2, 1, 12, 17)),
}
#: Bytes of features at once: whole images, or tiles of a few pixels.
BUDGETS = {"whole": 2**40, "tiles": 40_000}


def regularizer(case: str, dtype: torch.dtype) -> tuple[Regularizer, Tensor]:
    """The regulariser with parameters that nobody chose, and images for it."""
    name, arguments, shape = CASES[case]
    torch.manual_seed(0)
    r = build(name, **arguments).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in r.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.2 * noise)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return r.to(dtype), x.to(dtype)


def distance(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach().double()
    return float((norm(a - b) / norm(b)).max())
