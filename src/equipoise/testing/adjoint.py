"""The contract that every linear physics keeps: run :func:`check_adjoint` on your own ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from deepinv.physics import LinearPhysics

from equipoise import adjointness
from equipoise.errors import InputError
from equipoise.modes import verb
from equipoise.randomness import normal_like
from equipoise.stacked import with_one_measurement
from equipoise.testing import requirements

close = partial(requirements.close, subject="Physics")


@verb
def check_adjoint(
    physics: LinearPhysics,
    image_shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    tolerance: float | None = None,
) -> None:
    """Require that a physics is linear and that ``A_adjoint`` is the adjoint of ``A``.

    ``<A u, v> = <u, A' v>`` for several pairs of random images and measurements (the real part of
    the product where measurements are complex), see :func:`equipoise.adjointness.adjoint_defect`,
    which equations apply as they are built; A and A' are linear; a batch gives what its samples
    give one by one.

    Args:
        physics: a deepinv linear physics, which treats all samples alike; it may measure several
            tensors.
        image_shape: shape (C, *spatial) of one image.
        dtype: dtype of images.
        tolerance: largest accepted relative defect; by default 1e-4 in float32, 1e-10 in float64.

    Raises:
        AssertionError: naming the clause that is broken, with the measured defect.
    """
    u = normal_like(torch.empty(2, *image_shape, dtype=dtype), 0)
    physics = with_one_measurement(physics, u)
    try:
        adjointness.adjoint_defect(physics, tuple(image_shape), dtype, tolerance)
    except InputError as error:
        raise AssertionError(requirements.clause(str(error).rstrip("."), "Physics")) from error
    limit = adjointness.TOLERANCES[dtype] if tolerance is None else tolerance
    with torch.no_grad():
        v = normal_like(physics.A(u), 1)
        other = v.flip(0)
        both = physics.A_adjoint(v + 2 * other)
        apart = physics.A_adjoint(v) + 2 * physics.A_adjoint(other)
        close(both, apart, limit, "A_adjoint is not linear")
        for name, operator, batch in (("A", physics.A, u), ("A_adjoint", physics.A_adjoint, v)):
            single = torch.cat([operator(one) for one in batch.split(1)])
            message = f"{name} of a batch differs from that of its samples"
            close(operator(batch), single, limit, message)
