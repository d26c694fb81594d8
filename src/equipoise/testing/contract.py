"""The contract that every regulariser keeps: run these checks on your own ones.

Each check raises an ``AssertionError`` whose message names the broken clause and the numbers. All
run in float64 on a copy, so the regulariser that is passed stays as it is.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from equipoise.errors import InputError, NoPotentialError, UsageError
from equipoise.modes import learning_verb
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.io import load_regularizer, save_regularizer
from equipoise.status import Status
from equipoise.testing.declared import check_far_away, check_traits
from equipoise.testing.derivatives import (
    DIFFERENCE,
    check_parameter_gradient,
    check_second_derivatives,
)
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference
from equipoise.testing.requirements import (
    clause,
    close,
    default_shape,
    image_sizes,
    in_double,
    random_image,
    require,
)
from equipoise.vectors import dot, norm

#: Relative tolerance of identities that hold exactly, in float64.
EXACT = 1e-10
#: Residual to which the proximal map is solved, relative to the image.
PROX_TOLERANCE = 1e-7


@learning_verb
def check_regularizer(
    regularizer: Regularizer, image_shape: Sequence[int] | None = None, seed: int = 0
) -> None:
    """Run every check of the contract.

    Args:
        regularizer: the field R to check.
        image_shape: (B, C, *spatial) with B >= 2, small; by default two images of 8 x 9 pixels
            (9 in 1-D, 4 x 5 x 6 in 3-D) with the channels that R expects.
        seed: of the random images.

    Raises:
        AssertionError: naming the first clause that is broken.
    """
    shape = tuple(image_shape or default_shape(regularizer))
    fields = (check_shapes, check_inputs, check_batch, check_channels, check_potential)
    declared = (check_jacobian, check_traits, check_far_away, check_constants, check_frozen)
    parameters = (check_parameter_gradient, check_second_derivatives)
    for check in (*fields, *declared, *parameters, check_prox, check_saving):
        check(regularizer, shape, seed)


def check_shapes(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Field and potential have the right shape and dtype, in float32 and float64, at two sizes."""
    for dtype in (torch.float32, torch.float64):
        r = copy.deepcopy(regularizer).to(dtype)
        for size in image_sizes(regularizer, shape):
            x = random_image(size, seed, dtype)
            field = r.field(x)
            require(
                field.shape == x.shape and field.dtype == dtype,
                f"field turned {tuple(x.shape)} {dtype} into {tuple(field.shape)} {field.dtype}",
            )
            require(bool(torch.isfinite(field).all()), "field is not finite at a random image")
            if r.gradient_field:
                value = r.potential(x)
                require(
                    value.shape == (len(x),) and value.dtype == dtype,
                    f"potential of {len(x)} samples in {dtype} has shape {tuple(value.shape)} "
                    f"and dtype {value.dtype}; expected ({len(x)},)",
                )


def check_inputs(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Wrong channels, axes and dtypes are refused with an ``InputError``."""
    batch, channels, *spatial = shape
    wrong = {"an image without channel axis": torch.zeros(batch, spatial[0])}
    if regularizer.channels not in (None, 1):
        wrong["a wrong number of channels"] = torch.zeros(batch, channels + 1, *spatial)
    if regularizer.dims is not None:
        wrong["a wrong number of axes"] = torch.zeros(batch, channels, *spatial, 2)
    if next(regularizer.parameters(), None) is not None:
        wrong["a wrong dtype"] = torch.zeros(batch, channels, *spatial, dtype=torch.float16)
    for what, x in wrong.items():
        try:
            regularizer.field(x)
        except InputError:
            continue
        raise AssertionError(clause(f"{what} is not refused with an InputError"))


def check_batch(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A batch gives what its samples give one by one."""
    r, x = in_double(regularizer), random_image(shape, seed)
    field = r.field(x)
    single = torch.cat([r.field(one) for one in x.split(1)])
    close(field, single, EXACT, "the field of a batch differs from that of its samples")
    if r.gradient_field:
        value = r.potential(x)
        alone = torch.cat([r.potential(one) for one in x.split(1)])
        close(value, alone, EXACT, "the potential of a batch differs from that of its samples")


def check_channels(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A gray regulariser acts on every channel of a colour image by itself."""
    if regularizer.channels != 1:
        return
    r, x = in_double(regularizer), random_image((shape[0], 3, *shape[2:]), seed)
    apart = torch.cat([r.field(one) for one in x.split(1, dim=1)], dim=1)
    close(r.field(x), apart, EXACT, "the field of a colour image differs from its channels'")
    if r.gradient_field:
        parts = torch.stack([r.potential(one) for one in x.split(1, dim=1)]).sum(0)
        close(r.potential(x), parts, EXACT, "the potential of a colour image is not the sum")


def check_potential(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """The field is the gradient of the potential; without one, asking for it is refused."""
    r, x = in_double(regularizer), random_image(shape, seed)
    if not r.gradient_field:
        try:
            r.potential(x)
        except NoPotentialError:
            return
        raise AssertionError(clause("a field that is no gradient offers a potential"))
    field, v = r.field(x), random_image(shape, seed + 1)
    point = x.clone().requires_grad_()
    slope = torch.autograd.grad(r.potential(point).sum(), point)[0]
    close(field, slope, EXACT, "the field is not the gradient (autograd) of the potential")
    close(
        dot(field, v),
        directional_difference(r.potential, x, v),
        DIFFERENCE,
        "the field is not the gradient (finite differences) of the potential",
        scale=norm(field) * norm(v) + r.potential(x).abs(),
    )
    close(r.fn(x, 0.1), r.potential(x), EXACT, "deepinv's fn is not the potential")
    close(r.grad(x, 0.1), field, EXACT, "deepinv's grad is not the field")


def check_jacobian(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Jacobian products agree with autograd and finite differences, are adjoint, per sample."""
    r, x = in_double(regularizer), random_image(shape, seed)
    v, w = random_image(shape, seed + 1), random_image(shape, seed + 2)
    near = r.linearize(x)
    forth, back = near.jvp(v), near.vjp(w)
    close(
        dot(forth, w),
        dot(v, back),
        EXACT,
        "jvp and vjp are not adjoint, <J v, w> != <v, J^T w>",
        scale=norm(forth) * norm(w) + norm(v) * norm(back),
    )
    slope = directional_difference(r.field, x, v)
    close(forth, slope, DIFFERENCE, "jvp differs from finite differences of the field")
    one = x[:1]
    dense, near_one = dense_jacobian(r, one), r.linearize(one)
    products = dense_products(near_one.jvp, one)
    close(products, dense, EXACT, "jvp differs from automatic differentiation of the field")
    transposed = dense_products(near_one.vjp, one)
    close(transposed, dense.mT, EXACT, "vjp differs from automatic differentiation of the field")
    if r.gradient_field:
        close(dense, dense.mT, EXACT, "R is declared a gradient field, but J is not symmetric")


def check_constants(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Passing the constants, detached or not, changes nothing."""
    r, x = in_double(regularizer), random_image(shape, seed)
    constants = r.constants()
    require(
        isinstance(constants, tuple) and all(isinstance(c, Tensor) for c in constants),
        "constants() must be a tuple of tensors",
    )
    fixed = tuple(c.detach() for c in constants)
    close(r.field(x, fixed), r.field(x), EXACT, "constants change the field")
    if r.gradient_field:
        close(r.potential(x, fixed), r.potential(x), EXACT, "constants change the potential")


def check_frozen(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """The frozen field computes what the field itself does."""
    r, x = in_double(regularizer), random_image(shape, seed)
    frozen = r.frozen()
    close(frozen.value(x), r.field(x), EXACT, "freezing changes the field")
    if r.gradient_field:
        potential, value = frozen.potential_and_value(x)
        close(potential, r.potential(x), EXACT, "freezing changes the potential")
        close(value, r.field(x), EXACT, "freezing changes the field beside its potential")
    local = frozen.local_kernels(x)
    if local is not None:
        finite = bool(torch.isfinite(local.kernels).all() and torch.isfinite(local.windows).all())
        require(finite, "local_kernels has values that are not finite")


def check_prox(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """``z = prox(x)`` solves ``z - x + gamma R(z) = 0`` (gamma below half the weak convexity)."""
    r, x = in_double(regularizer), random_image(shape, seed)
    mu, high = r.traits().modulus, r.traits().lipschitz
    expansion = max(0.0, -mu.value) if mu is not None else (high.value if high else 5.0)
    gamma = 0.5 / max(1.0, expansion)
    solution = r.solve_prox(x, gamma, tolerance=PROX_TOLERANCE)
    require(
        all(s is Status.CONVERGED for s in solution.statuses),
        f"the proximal map with gamma = {gamma:.3g} did not converge; {solution.summary()}",
    )
    with torch.no_grad():
        residual = solution.x - x + gamma * r.field(solution.x)
    worst = float((norm(residual) / norm(x)).max())
    require(
        worst <= 2.0 * PROX_TOLERANCE,
        f"prox claims convergence, but its equation is violated by {worst:.3g} relative to x",
    )


def _has_config(regularizer: Regularizer) -> bool:
    """Whether it and all its parts are in the catalogue."""
    try:
        return bool(regularizer.config)
    except UsageError:
        return False


def check_saving(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Saving and loading gives the same field; a class without configuration says so plainly."""
    r, x = in_double(regularizer), random_image(shape, seed)
    record = {"note": "contract", "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "regularizer.safetensors"
        if r.catalogue_name is None or not _has_config(r):
            try:
                save_regularizer(path, r, record)
            except UsageError:
                return
            raise AssertionError(clause("a class outside the catalogue was saved"))
        save_regularizer(path, r, record)
        again, found = load_regularizer(path)
    require(found == record, f"the record changed from {record} to {found}")
    require(
        type(again) is type(r) and again.config == r.config,
        f"loading gave {type(again).__name__} {again.config}, not {type(r).__name__} {r.config}",
    )
    weights = again.double().state_dict()
    same = all(torch.equal(weights[name], t) for name, t in r.double().state_dict().items())
    require(same, "the weights changed by saving and loading")
    # Equal weights at other places in memory may be summed in another order.
    close = torch.allclose(again.field(x), r.field(x), rtol=1e-12, atol=1e-13)
    require(close, "the field changed by saving and loading")
