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
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.io import load_regularizer, save_regularizer
from equipoise.status import Status
from equipoise.testing.oracles import dense_jacobian, dense_products, directional_difference
from equipoise.vectors import dot, norm

#: Relative tolerance of identities that hold exactly, in float64.
EXACT = 1e-10
#: Relative tolerance of finite differences in float64.
DIFFERENCE = 1e-5
#: Amplitudes of the random images at which bounds are tried.
AMPLITUDES = (0.01, 0.1, 1.0, 10.0)
#: Residual to which the proximal map is solved, relative to the image.
PROX_TOLERANCE = 1e-7


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
    shape = tuple(image_shape or _default_shape(regularizer))
    check_shapes(regularizer, shape, seed)
    check_inputs(regularizer, shape)
    check_batch(regularizer, shape, seed)
    check_channels(regularizer, shape, seed)
    check_potential(regularizer, shape, seed)
    check_jacobian(regularizer, shape, seed)
    check_traits(regularizer, shape, seed)
    check_constants(regularizer, shape, seed)
    check_parameter_gradient(regularizer, shape, seed)
    check_prox(regularizer, shape, seed)
    check_saving(regularizer, shape, seed)


def check_shapes(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Field and potential have the right shape and dtype, in float32 and float64, at two sizes."""
    for dtype in (torch.float32, torch.float64):
        r = copy.deepcopy(regularizer).to(dtype)
        for size in _sizes(regularizer, shape):
            x = _random(size, seed, dtype)
            field = r.field(x)
            _require(
                field.shape == x.shape and field.dtype == dtype,
                f"field turned {tuple(x.shape)} {dtype} into {tuple(field.shape)} {field.dtype}",
            )
            _require(bool(torch.isfinite(field).all()), "field is not finite at a random image")
            if _gradient(r):
                value = r.potential(x)
                _require(
                    value.shape == (len(x),) and value.dtype == dtype,
                    f"potential of {len(x)} samples in {dtype} has shape {tuple(value.shape)} "
                    f"and dtype {value.dtype}; expected ({len(x)},)",
                )


def check_inputs(regularizer: Regularizer, shape: Sequence[int]) -> None:
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
        raise AssertionError(_text(f"{what} is not refused with an InputError"))


def check_batch(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A batch gives what its samples give one by one."""
    r, x = _double(regularizer), _random(shape, seed)
    field = r.field(x)
    single = torch.cat([r.field(one) for one in x.split(1)])
    _close(field, single, EXACT, "the field of a batch differs from that of its samples")
    if _gradient(r):
        value = r.potential(x)
        alone = torch.cat([r.potential(one) for one in x.split(1)])
        _close(value, alone, EXACT, "the potential of a batch differs from that of its samples")


def check_channels(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A gray regulariser acts on every channel of a colour image by itself."""
    if regularizer.channels != 1:
        return
    r, x = _double(regularizer), _random((shape[0], 3, *shape[2:]), seed)
    apart = torch.cat([r.field(one) for one in x.split(1, dim=1)], dim=1)
    _close(r.field(x), apart, EXACT, "the field of a colour image differs from its channels'")
    if _gradient(r):
        parts = torch.stack([r.potential(one) for one in x.split(1, dim=1)]).sum(0)
        _close(r.potential(x), parts, EXACT, "the potential of a colour image is not the sum")


def check_potential(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """The field is the gradient of the potential; without one, asking for it is refused."""
    r, x = _double(regularizer), _random(shape, seed)
    if not _gradient(r):
        try:
            r.potential(x)
        except NoPotentialError:
            return
        raise AssertionError(_text("a field that is no gradient offers a potential"))
    field, v = r.field(x), _random(shape, seed + 1)
    point = x.clone().requires_grad_()
    slope = torch.autograd.grad(r.potential(point).sum(), point)[0]
    _close(field, slope, EXACT, "the field is not the gradient (autograd) of the potential")
    _close(
        dot(field, v),
        directional_difference(r.potential, x, v),
        DIFFERENCE,
        "the field is not the gradient (finite differences) of the potential",
        scale=norm(field) * norm(v) + r.potential(x).abs(),
    )
    value, together = r.potential_and_field(x)
    _close(value, r.potential(x), EXACT, "potential_and_field gives another potential")
    _close(together, field, EXACT, "potential_and_field gives another field")
    _close(r.fn(x, 0.1), value, EXACT, "deepinv's fn is not the potential")
    _close(r.grad(x, 0.1), field, EXACT, "deepinv's grad is not the field")


def check_jacobian(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Jacobian products agree with autograd and finite differences, are adjoint, per sample."""
    r, x = _double(regularizer), _random(shape, seed)
    v, w = _random(shape, seed + 1), _random(shape, seed + 2)
    near = r.linearize(x)
    forth, back = near.jvp(v), near.vjp(w)
    _close(near.value, r.field(x), EXACT, "linearize gives another value than field")
    _close(
        dot(forth, w),
        dot(v, back),
        EXACT,
        "jvp and vjp are not adjoint, <J v, w> != <v, J^T w>",
        scale=norm(forth) * norm(w) + norm(v) * norm(back),
    )
    slope = directional_difference(r.field, x, v)
    _close(forth, slope, DIFFERENCE, "jvp differs from finite differences of the field")
    one = x[:1]
    dense, near_one = dense_jacobian(r, one), r.linearize(one)
    products = dense_products(near_one.jvp, one)
    _close(products, dense, EXACT, "jvp differs from automatic differentiation of the field")
    transposed = dense_products(near_one.vjp, one)
    _close(transposed, dense.mT, EXACT, "vjp differs from automatic differentiation of the field")
    if _gradient(r):
        _close(dense, dense.mT, EXACT, "R is declared a gradient field, but J is not symmetric")


def check_traits(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Proved traits hold for dense Jacobians at random, zero and constant images of two sizes."""
    r = _double(regularizer)
    traits = r.traits()
    _require(
        traits.gradient_field == r.gradient_field,
        f"traits() declare gradient_field={traits.gradient_field}, the object {r.gradient_field}",
    )
    if not any(b is not None and b.proved for b in (traits.modulus, traits.lipschitz)):
        return
    for size in _sizes(regularizer, shape):
        image = (1, *size[1:])
        points = [a * _random(image, seed + k) for k, a in enumerate(AMPLITUDES)]
        points += [torch.zeros_like(points[0]), torch.ones_like(points[0])]
        for x in points:
            _check_bounds(r, dense_jacobian(r, x), f"at an image of shape {image}")


def _check_bounds(regularizer: Regularizer, jacobian: Tensor, where: str) -> None:
    traits = regularizer.traits()
    mu, high = traits.modulus, traits.lipschitz
    size = float(torch.linalg.matrix_norm(jacobian, 2))
    slack = EXACT * max(1.0, size)
    if mu is not None and mu.proved:
        low = float(torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[0])
        _require(
            low >= mu.value - slack,
            f"modulus {mu} is declared, but <J v, v> = {low:.8g} ||v||^2 occurs {where}",
        )
    if high is not None and high.proved:
        _require(
            size <= high.value + slack,
            f"lipschitz {high} is declared, but ||J v|| = {size:.8g} ||v|| occurs {where}",
        )
    if traits.disc and mu is not None and high is not None and mu.proved and high.proved:
        middle = 0.5 * (high.value + mu.value) * torch.eye(len(jacobian), dtype=jacobian.dtype)
        radius = float(torch.linalg.matrix_norm(jacobian - middle, 2))
        _require(
            radius <= 0.5 * (high.value - mu.value) + slack,
            f"the disc hypothesis is declared, but ||J - (L + mu)/2 I|| = {radius:.8g} is more "
            f"than (L - mu)/2 {where}",
        )


def check_constants(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Passing the constants, detached or not, changes nothing."""
    r, x, v = _double(regularizer), _random(shape, seed), _random(shape, seed + 1)
    constants = r.constants()
    _require(
        isinstance(constants, tuple) and all(isinstance(c, Tensor) for c in constants),
        "constants() must be a tuple of tensors",
    )
    fixed = tuple(c.detach() for c in constants)
    _close(r.field(x, fixed), r.field(x), EXACT, "constants change the field")
    near, other = r.linearize(x, fixed), r.linearize(x)
    _close(near.jvp(v), other.jvp(v), EXACT, "constants change jvp")
    _close(near.vjp(v), other.vjp(v), EXACT, "constants change vjp")
    if _gradient(r):
        _close(r.potential(x, fixed), r.potential(x), EXACT, "constants change the potential")
        value, field = r.potential_and_field(x, fixed)
        _close(value, r.potential(x), EXACT, "constants change potential_and_field")
        _close(field, r.field(x), EXACT, "constants change potential_and_field")


def check_parameter_gradient(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """The derivative of ``<R(x), w>`` by the parameters agrees with finite differences."""
    r, x, w = _double(regularizer), _random(shape, seed), _random(shape, seed + 1)
    parameters = [p for p in r.parameters() if p.requires_grad]
    if not parameters:
        return
    start = torch.nn.utils.parameters_to_vector(parameters).detach()
    v = _random(start.shape, seed + 2)

    def pulled(vector: Tensor) -> Tensor:
        torch.nn.utils.vector_to_parameters(vector, parameters)
        return (r.field(x) * w).sum()

    slope = directional_difference(pulled, start, v)
    torch.nn.utils.vector_to_parameters(start, parameters)
    value = (r.field(x) * w).sum()
    if not value.requires_grad:  # no parameter is reached: all derivatives are zero
        value = value + 0.0 * parameters[0].sum()
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    gradient = torch.cat([g.flatten() for g in gradients])
    _close(
        (gradient * v).sum(),
        slope,
        DIFFERENCE,
        "the derivative by the parameters differs from finite differences",
        scale=gradient.norm() * v.norm() + 1e-3 * norm(r.field(x).detach()).sum(),
    )


def check_prox(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """``z = prox(x)`` solves ``z - x + gamma R(z) = 0`` (gamma below half the weak convexity)."""
    r, x = _double(regularizer), _random(shape, seed)
    mu, high = r.traits().modulus, r.traits().lipschitz
    expansion = max(0.0, -mu.value) if mu is not None else (high.value if high else 5.0)
    gamma = 0.5 / max(1.0, expansion)
    solution = r.solve_prox(x, gamma, tolerance=PROX_TOLERANCE)
    _require(
        all(s is Status.CONVERGED for s in solution.statuses),
        f"the proximal map with gamma = {gamma:.3g} did not converge; {solution.summary()}",
    )
    with torch.no_grad():
        residual = solution.x - x + gamma * r.field(solution.x)
    worst = float((norm(residual) / norm(x)).max())
    _require(
        worst <= 2.0 * PROX_TOLERANCE,
        f"prox claims convergence, but its equation is violated by {worst:.3g} relative to x",
    )


def check_saving(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Saving and loading gives the same field; a class without configuration says so plainly."""
    r, x, record = _double(regularizer), _random(shape, seed), {"note": "contract", "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "regularizer.safetensors"
        if r.catalogue_name is None:
            try:
                save_regularizer(path, r, record)
            except UsageError:
                return
            raise AssertionError(_text("a class outside the catalogue was saved"))
        save_regularizer(path, r, record)
        again, found = load_regularizer(path)
    _require(found == record, f"the record changed from {record} to {found}")
    _require(
        type(again) is type(r) and again.config == r.config,
        f"loading gave {type(again).__name__} {again.config}, not {type(r).__name__} {r.config}",
    )
    _require(
        torch.equal(again.double().field(x), r.field(x)), "the field changed by saving and loading"
    )


# ---- parts ---------------------------------------------------------------------------------------


def _default_shape(regularizer: Regularizer) -> tuple[int, ...]:
    if regularizer.image_shape is not None:
        return (2, *regularizer.image_shape)
    spatial = {1: (9,), 3: (4, 5, 6)}.get(regularizer.dims or 2, (8, 9))
    return (2, regularizer.channels or 1, *spatial)


def _sizes(regularizer: Regularizer, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shape, and smaller images of other proportions where R takes any size."""
    if regularizer.image_shape is not None:
        return [tuple(shape)]
    batch, channels, *spatial = shape
    return [tuple(shape), (batch, channels, *(max(2, n - 2 - k) for k, n in enumerate(spatial)))]


def _double(regularizer: Regularizer) -> Regularizer:
    return copy.deepcopy(regularizer).double()


def _random(shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).to(dtype)


def _gradient(regularizer: Regularizer) -> bool:
    return regularizer.traits().gradient_field


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(_text(message))


def _text(message: str) -> str:
    return f"Regulariser contract: {message}."


def _close(
    found: Tensor,
    expected: Tensor,
    tolerance: float,
    message: str,
    scale: Tensor | None = None,
) -> None:
    """Require ``|found - expected| <= tolerance * scale``; the scale is by default the largest
    entry of either, or 1e-12 if both vanish."""
    found, expected = found.detach(), expected.detach()
    error = (found - expected).abs()
    size = torch.maximum(found.abs().max(), expected.abs().max()) if scale is None else scale
    relative = float((error / size.detach().clamp_min(1e-12)).max())
    _require(relative <= tolerance, f"{message} (relative error {relative:.3g})")
