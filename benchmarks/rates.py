"""What the machine can do: rates of convolutions and matrix products, bandwidth of memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmarks import timing
from benchmarks.machine import device
from equipoise.convolutions.precision import without_tf32

#: Channels and kernel size of the convolution whose rate is the limit to measure against.
CHANNELS, KERNEL = 64, 3
#: Side of the matrices, and bytes of the tensor that is copied.
MATRIX = {"cpu": 2048, "cuda": 8192}
COPIED = 2**28


@dataclass(frozen=True)
class Rates:
    """Operations and bytes per second.

    Args:
        contiguous: of the convolution on contiguous images.
        channels_last: of the same on channels-last images.
        matrix: of float32 matrix products.
        matrix_tf32: the same where TF32 is allowed; None where there is none.
        bandwidth: bytes read and written by a large copy.
    """

    contiguous: float
    channels_last: float
    matrix: float
    matrix_tf32: float | None
    bandwidth: float

    @property
    def convolution(self) -> float:
        """The rate of the better format."""
        return max(self.contiguous, self.channels_last)


def measure_rates(batch: int, height: int, width: int, repeats: int) -> Rates:
    """Measure all rates in float32, the convolutions on images of the given size."""
    place = device()
    x = torch.randn(batch, CHANNELS, height, width, device=place)
    kernel = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL, device=place)
    last = x.contiguous(memory_format=torch.channels_last)
    kernel_last = kernel.contiguous(memory_format=torch.channels_last)
    side = MATRIX[place.type]
    a, b = torch.randn(side, side, device=place), torch.randn(side, side, device=place)
    source = torch.randn(COPIED // 4, device=place)
    target = torch.empty_like(source)
    with torch.no_grad(), without_tf32(place):
        took = timing.compare(
            {
                "contiguous": lambda: F.conv2d(x, kernel, padding=KERNEL // 2),
                "last": lambda: F.conv2d(last, kernel_last, padding=KERNEL // 2),
                "matrix": lambda: a @ b,
                "copy": lambda: target.copy_(source),
            },
            repeats=repeats,
            warmup=2,
            burst=3,
        )
    flop = 2 * batch * CHANNELS**2 * KERNEL**2 * height * width
    return Rates(
        contiguous=flop / took["contiguous"].median,
        channels_last=flop / took["last"].median,
        matrix=2 * side**3 / took["matrix"].median,
        matrix_tf32=_tf32(a, b, repeats) if place.type == "cuda" else None,
        bandwidth=2 * COPIED / took["copy"].median,
    )


def _tf32(a: torch.Tensor, b: torch.Tensor, repeats: int) -> float:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        took = timing.measure(lambda: a @ b, repeats=repeats, warmup=2)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * len(a) ** 3 / took.median
