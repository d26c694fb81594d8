"""Check that a physics is linear and that its ``A_adjoint`` is the adjoint of its ``A``."""

from __future__ import annotations

import math

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.checks import require_positive
from equipoise.errors import AdjointError, InputError
from equipoise.modes import verb

#: Relative defect that is taken for rounding, by dtype. Exact pairs measure up to 1e-6 and 1e-15.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
#: Pairs of random vectors; the root mean square of so many is hardly ever far below its mean.
SAMPLES = 16


@verb
def check_adjoint(
    physics: LinearPhysics,
    image_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    tolerance: float | None = None,
    device: str | torch.device = "cpu",
) -> float:
    """Measure by how much ``A_adjoint`` misses the adjoint ``A^T``; refuse more than rounding.

    Formula: for random normal u, v, ``<A u, v> - <u, A' v> = <u, (A^T - A') v>`` has mean square
    ``||(A^T - A') v||^2`` over u. The defect is its root mean square over several pairs, relative
    to that of ``||A' v||``. Unlike a defect relative to ``||A u|| ||v||`` it does not shrink as
    images grow, so an error of 0.1 % is seen at any size.

    Args:
        physics: a deepinv linear physics.
        image_shape: shape (C, *spatial) of one image.
        dtype: dtype of images; the physics must keep it (measurements may be complex).
        tolerance: largest accepted defect; by default 1e-4 in float32 and 1e-10 in float64.
        device: where the physics is.

    Returns:
        The measured relative defect.

    Raises:
        AdjointError: with the measured defect, if it exceeds the tolerance.
        InputError: if A is not linear, or refuses such images, or changes their precision.
    """
    limit = TOLERANCES[dtype] if tolerance is None else tolerance
    require_positive("tolerance", limit)
    generator = torch.Generator().manual_seed(0)

    def image() -> Tensor:
        u = torch.randn((1, *image_shape), generator=generator, dtype=torch.float64)
        return u.to(device=device, dtype=dtype)

    with torch.no_grad():
        _check_shapes(physics, image(), dtype)
        _check_linear(physics, image(), image(), limit)
        missed = size = 0.0
        for _ in range(SAMPLES):
            u = image()
            Au = physics.A(u)
            v = torch.randn((2, *Au.shape), generator=generator, dtype=torch.float64)
            v = (torch.complex(v[0], v[1]) if Au.is_complex() else v[0]).to(Au)
            back = physics.A_adjoint(v)
            missed += (_dot(Au, v) - _dot(u, back)) ** 2
            size += _dot(back, back)
    defect = math.sqrt(missed / size) if size > 0 else (0.0 if missed == 0 else math.inf)
    if not defect <= limit:
        raise AdjointError(
            f"A_adjoint of {type(physics).__name__} is not the adjoint of A: relative defect "
            f"{defect:.2g}, accepted {limit:.0e} in {dtype}. The equation's gradient would be "
            "wrong; use the exact adjoint (for deepinv's Tomography adjoint_via_backprop=True; in "
            "general LinearPhysics(A=A, img_size=image_shape), which differentiates A)."
        )
    return defect


def _check_shapes(physics: LinearPhysics, u: Tensor, dtype: torch.dtype) -> None:
    name = type(physics).__name__
    try:
        y = physics.A(u)
        back = physics.A_adjoint(y)
    except Exception as error:  # a user's operator may raise anything
        raise InputError(
            f"{name} does not take images of shape {tuple(u.shape)} and dtype {dtype} "
            f"on {u.device}: {type(error).__name__}: {error}. Problems are solved in float32 and "
            "float64: let A compute in the dtype of its argument, and let the physics hold its "
            "tensors as attributes, which are converted, not inside of functions."
        ) from error
    if back.shape != u.shape:
        raise InputError(
            f"A_adjoint of {name} returns shape {tuple(back.shape)} for images of shape "
            f"{tuple(u.shape)}."
        )
    if back.dtype != dtype or y.real.dtype != dtype:
        raise InputError(
            f"{name} turns {dtype} images into {y.dtype} measurements and these into {back.dtype} "
            f"images: build its filters and masks in {dtype} and return real images."
        )
    if not bool(torch.isfinite(y).all() and torch.isfinite(back).all()):
        raise InputError(f"{name} returns values that are NaN or infinite for a random image.")


def _check_linear(physics: LinearPhysics, u: Tensor, v: Tensor, limit: float) -> None:
    """Compare ``A(u + 2 v)`` with ``A u + 2 A v``."""
    apart = physics.A(u) + 2 * physics.A(v)
    missed = (physics.A(u + 2 * v) - apart).abs().double().norm()
    size = apart.abs().double().norm()
    if not bool(missed <= limit * size):
        raise InputError(
            f"{type(physics).__name__} is not linear: A(u + 2 v) differs from A u + 2 A v by "
            f"{float(missed / size):.2g} relative. Only linear physics without offset or "
            "randomness in A fit the equation."
        )


def _dot(a: Tensor, b: Tensor) -> float:
    """``<a, b>`` summed in float64 (real part for complex tensors)."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    return float((a.double() * b.double()).sum())
