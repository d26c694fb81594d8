"""Blur kernels: Gaussian, straight motion, the user's own."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import InputError, UnknownNameError, UsageError
from equipoise.images import read_image, to_gray
from equipoise.problems.mask_pictures import require_opaque

#: Radius of a Gaussian kernel in standard deviations; what is cut off weighs less than 1e-4.
GAUSSIAN_RADIUS = 4.0
#: Kernels by name, and how many numbers they take.
NAMED = {"motion": (1, 2), "gaussian": (1,)}
#: Largest side of a named kernel; checked before memory is taken.
LARGEST = 4095
#: From which size on a picture of a kernel must get dark towards its border, and how dark: the
#: border's mean as a share of the brightest pixel.
CHECKED_SIDE, DARK_BORDER = 15, 0.5
#: Share of the kernel's absolute weight below which its sum counts as zero.
ZERO_SUM = 1e-6
#: Difference of the sum from 1 up to which a kernel is one that was normalised here.
NORMALIZED = 1e-12


@dataclass(frozen=True, eq=False)
class Kernel:
    """A blur kernel, odd-sized and of sum 1.

    Args:
        values: shape (h, w), float64, applied as a convolution centred at (h // 2, w // 2), as by
            ``scipy.ndimage.convolve``.
        description: what it is, to follow "blur by".
        notes: plain sentences about what was changed to make it fit.
    """

    values: Tensor
    description: str
    notes: tuple[str, ...] = ()


def gaussian_kernel(deviation: float) -> Kernel:
    """Make a Gaussian kernel ``exp(-|t|^2 / (2 s^2))``, cut off at four standard deviations.

    Args:
        deviation: s in pixels, positive.

    Raises:
        InputError: if s is not a positive number, or the kernel would have more than
            :data:`LARGEST` pixels a side.
    """
    if not (math.isfinite(deviation) and deviation > 0):
        raise InputError(f"A Gaussian kernel needs a positive deviation, got {deviation}.")
    _check_side(2 * GAUSSIAN_RADIUS * deviation + 1, f"gaussian:{deviation:g}")
    radius = math.ceil(GAUSSIAN_RADIUS * deviation)
    t = torch.arange(-radius, radius + 1, dtype=torch.float64)
    line = torch.exp(-0.5 * (t / deviation) ** 2)
    values = torch.outer(line, line)
    return Kernel(values / values.sum(), f"a Gaussian of standard deviation {deviation:g} pixels")


def motion_kernel(length: float, angle: float = 0.0) -> Kernel:
    """Make the kernel of a straight, uniform motion.

    The weight of a pixel is the share of the centred line segment that lies in its square, so a
    horizontal motion of odd length n is n equal weights.

    Args:
        length: length of the segment in pixels, at least 1.
        angle: degrees from the horizontal, counter-clockwise.

    Raises:
        InputError: if the length is below 1 or above :data:`LARGEST`, or a number is not finite.
    """
    if not (math.isfinite(length) and math.isfinite(angle) and length >= 1):
        raise InputError(
            f"A motion kernel needs a length of at least 1 pixel and a finite angle, "
            f"got length {length} and angle {angle}."
        )
    _check_side(length, f"motion:{length:g}")
    step = (-_sine(angle), _sine(angle + 90.0))  # (rows, columns) per unit of length
    half = 0.5 * length
    radius = [math.ceil(abs(s) * half - 0.5 - 1e-9) for s in step]
    cuts = {-half, half}
    for s, r in zip(step, radius, strict=True):
        if s:
            cuts.update(t for k in range(-r, r) if abs(t := (k + 0.5) / s) < half)
    values = torch.zeros(2 * radius[0] + 1, 2 * radius[1] + 1, dtype=torch.float64)
    ends = sorted(cuts)
    for a, b in itertools.pairwise(ends):
        row, column = (round(0.5 * (a + b) * s) + r for s, r in zip(step, radius, strict=True))
        values[row, column] += b - a
    return Kernel(
        values / values.sum(), f"a straight motion of {length:g} pixels at {angle:g} degrees"
    )


def kernel_from_tensor(values: Tensor, description: str = "the given kernel") -> Kernel:
    """Make a kernel of the user's numbers: normalised to sum 1, padded to odd size.

    A row or column of zeros is appended to an even-sized kernel, which keeps its centre at
    (h // 2, w // 2).

    Args:
        values: shape (h, w), real, finite.
        description: what it is, to follow "blur by".

    Raises:
        InputError: if the kernel is no matrix, not finite, or its sum is zero or negative.
    """
    if values.dim() != 2 or values.numel() == 0 or values.is_complex():
        raise InputError(f"A kernel is a real matrix (h, w), got shape {tuple(values.shape)}.")
    exact = values.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(exact).all()):
        raise InputError("The kernel has values that are NaN or infinite.")
    total = exact.sum()
    if not bool(total.abs() > ZERO_SUM * exact.abs().sum()):
        raise InputError(
            "The kernel sums to zero, so it cannot be normalised to sum 1: "
            "give a blur kernel with a positive sum."
        )
    if float(total) < 0:
        raise InputError(
            "The kernel has a negative sum, so that normalising it to sum 1 would change its sign: "
            "give it, and the measurements, with the other sign."
        )
    notes = []
    h, w = exact.shape
    if h % 2 == 0 or w % 2 == 0:
        exact = F.pad(exact, (0, (w + 1) % 2, 0, (h + 1) % 2))
        notes.append(
            f"The kernel of even size {h} x {w} was padded with zeros to "
            f"{exact.shape[0]} x {exact.shape[1]}."
        )
    if not math.isclose(float(total), 1.0, rel_tol=1e-6):
        notes.append("The kernel was normalised to sum 1.")
    if abs(float(total) - 1.0) > NORMALIZED:  # a kernel of ours stays as it is, bit for bit
        exact = exact / total
    return Kernel(exact, description, tuple(notes))


def kernel_from_text(text: str) -> Kernel:
    """Make the kernel that a command line names.

    ``"motion:9"`` or ``"motion:9:30"`` (length, angle in degrees), ``"gaussian:1.5"`` (standard
    deviation), or the path of an image whose gray values are the kernel: a convolution centred
    at (h // 2, w // 2), as by ``scipy.ndimage.convolve``. ``scipy.signal.convolve2d`` centres
    kernels of even size a pixel before.

    Raises:
        UnknownNameError: for another name before the colon.
        UsageError: if the numbers are missing or unreadable.
        InputError: if the file is missing, unusable, or not clearly a kernel, or a number is out
            of range.
    """
    if is_kernel_file(text):
        with decoding(text, "kernel"):
            image, name = read_image(text), Path(text).name
            require_opaque(image, name)
            values = to_gray(image.pixels)[0]
            _refuse_bright_border(values, name)
            return kernel_from_tensor(values, f"the kernel of '{name}'")
    return named_kernel(text)


def is_kernel_file(text: str) -> bool:
    """Whether a command line means a file by that text, and no name with numbers."""
    return ":" not in text or Path(text).exists()


def named_kernel(text: str) -> Kernel:
    """Make the kernel of ``"motion:9"``, ``"motion:9:30"`` or ``"gaussian:1.5"``; open no file.

    Raises:
        UnknownNameError: for another name before the colon.
        UsageError: if the numbers are missing or unreadable.
        InputError: if a number is out of range.
    """
    name, _, rest = text.partition(":")
    if name not in NAMED:
        raise UnknownNameError("kernel", name, NAMED)
    try:
        numbers = [float(part) for part in rest.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in NAMED[name]:
        raise UsageError(
            f"Cannot read the kernel '{text}': write motion:LENGTH, motion:LENGTH:ANGLE, "
            "gaussian:DEVIATION, or the path of an image."
        )
    return motion_kernel(*numbers) if name == "motion" else gaussian_kernel(numbers[0])


def _refuse_bright_border(values: Tensor, name: str) -> None:
    """Refuse photographs and kernels on a white ground; a box, of one value, is a kernel.

    Raises:
        InputError: saying so.
    """
    h, w = values.shape
    if min(h, w) < CHECKED_SIDE or bool((values == values[0, 0]).all()):
        return
    ends = torch.cat([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])
    if float(ends.abs().mean()) > DARK_BORDER * float(values.abs().max()):
        raise InputError(
            f"'{name}' is not clearly a kernel, it is bright along its border: a picture of a "
            "kernel is bright where its weights are and black around them."
        )


def _check_side(side: float, text: str) -> None:
    if side > LARGEST:
        raise InputError(
            f"The kernel {text} would have {side:.4g} pixels a side, more than {LARGEST}."
        )


def _sine(degrees: float) -> float:
    """Sine that is exact at multiples of 90 degrees, so that axis-parallel motion is."""
    quarter = degrees / 90.0
    if quarter == round(quarter):
        return (0.0, 1.0, 0.0, -1.0)[int(quarter) % 4]
    return math.sin(math.radians(degrees))
