"""Sums of regularisers: fields, what is proved of them, and what does not add."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from deepinv.physics import Blur, Inpainting
from torch import Tensor

from equipoise import Equation, Sum, UsageError, build, load_regularizer, save_regularizer
from equipoise.certify import certify
from equipoise.convolutions.circulant import LocalKernels
from equipoise.regularizers import Regularizer, Residual, Scaled, Tikhonov
from equipoise.solve import solve
from equipoise.testing import check_saving, dense_jacobian


def images(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def ridge(**options: object) -> Regularizer:
    torch.manual_seed(0)
    return build("wcrr", filters=(2, 4), kernel_size=3, **options).double()


def test_fields_potentials_and_constants_add_with_their_weights() -> None:
    first, second, x = ridge(), Tikhonov("gradient"), images(2, 1, 7, 8)
    both = 2 * first + 0.25 * second
    torch.testing.assert_close(both.field(x), 2 * first.field(x) + 0.25 * second.field(x))
    expected = 2 * first.potential(x) + 0.25 * second.potential(x)
    torch.testing.assert_close(both.potential(x), expected)
    one, other, found = first.traits(), second.traits(), both.traits()
    assert one.modulus is not None
    assert one.lipschitz is not None
    assert other.lipschitz is not None
    assert found.modulus is not None
    assert found.lipschitz is not None
    assert found.modulus.value == pytest.approx(2 * one.modulus.value)
    assert found.lipschitz.value == pytest.approx(2 * one.lipschitz.value + 2.0)
    assert found.modulus.proved


def test_adding_a_multiple_of_tikhonovs_makes_a_weakly_convex_field_strongly_monotone() -> None:
    """What certificates advise where m is not positive."""
    mask, x = torch.ones(1, 6, 7, dtype=torch.float64), images(1, 1, 6, 7)
    mask[:, 2:4] = 0.0
    physics, weak = Inpainting((1, 6, 7), mask=mask), ridge()
    assert Equation(physics, physics.A(x), weak).modulus.value < 0  # type: ignore[union-attr]
    strong = weak + 1.5 * Tikhonov()
    equation = Equation(physics, physics.A(x), strong)
    assert equation.modulus is not None
    assert equation.modulus.value == pytest.approx(0.5, rel=1e-5)
    eigenvalues = torch.linalg.eigvalsh(dense_jacobian(strong, x))
    assert float(eigenvalues[0]) >= strong.traits().modulus.value  # type: ignore[union-attr]
    solution = solve(equation, x)
    assert solution.error_bound is not None
    assert certify(equation, x=solution.x).find("uniqueness").holds


def test_one_potential_that_attains_beside_quadratic_ones() -> None:
    tv = build("tv")
    assert (tv + Tikhonov("gradient")).traits().attaining
    assert not (tv + ridge()).traits().attaining  # of both by themselves, not of both together
    assert not (tv + ridge()).traits().linear
    assert (Tikhonov() + 2 * Tikhonov("gradient")).traits().linear


def test_the_preconditioner_of_a_sum_is_that_of_both() -> None:
    """Fewer evaluations than with no preconditioner at all, and the sum of what the parts are."""
    x = images(1, 1, 24, 24)
    kernel = torch.full((1, 1, 5, 5), 1 / 25, dtype=torch.float64)
    physics = Blur(filter=kernel, padding="circular")
    gradient = Tikhonov("gradient")
    both, whole = 0.5 * gradient + 0.5 * gradient, gradient.frozen().local_kernels(x)
    found = both.frozen().local_kernels(x)
    assert isinstance(found, LocalKernels)
    assert isinstance(whole, LocalKernels)
    torch.testing.assert_close(found.kernels, whole.kernels)
    y = physics.A(x)
    alone = solve(Equation(physics, y, gradient, 1e-3), y, tolerance=1e-8)
    added = solve(Equation(physics, y, both, 1e-3), y, tolerance=1e-8)
    torch.testing.assert_close(added.x, alone.x, rtol=0, atol=1e-6)
    assert int(added.evaluations) == int(alone.evaluations)
    mixed = ridge(weak_convexity=0.0) + gradient
    parts = [part.frozen().local_kernels(x) for part in (ridge(weak_convexity=0.0), gradient)]
    kernels = mixed.frozen().local_kernels(x)
    assert isinstance(kernels, LocalKernels)
    means = [local.mean_diagonal() for local in parts if local is not None]
    torch.testing.assert_close(kernels.mean_diagonal(), means[0] + means[1])
    assert (gradient + build("tv")).frozen().local_kernels(x) is None


def test_gray_and_colour_fields_add() -> None:
    x = images(2, 3, 6, 5)
    both = ridge() + ridge(channels=3) + Tikhonov()
    assert both.channels == 3
    expected = ridge().field(x) + ridge(channels=3).field(x) + x
    torch.testing.assert_close(both.field(x), expected)
    torch.testing.assert_close(both.frozen().value(x), expected)


def test_sums_are_saved_and_loaded(tmp_path: Path) -> None:
    both, x = ridge() + 0.1 * build("tv"), images(1, 1, 6, 5)
    save_regularizer(tmp_path / "sum.safetensors", both, {})
    again, _ = load_regularizer(tmp_path / "sum.safetensors")
    assert again.config == both.config
    assert torch.equal(again.field(x), both.field(x))


def test_the_sum_of_python_and_factors_on_either_side() -> None:
    x = images(1, 1, 5, 6)
    both = sum([Tikhonov(), Tikhonov("gradient") * 0.5])  # type: ignore[arg-type]
    torch.testing.assert_close(both.field(x), x + 0.5 * Tikhonov("gradient").field(x))


def test_constants_of_one_serve_another_that_never_made_any(tmp_path: Path) -> None:
    both, x = ridge() + 0.1 * build("tv"), images(1, 1, 6, 5)
    save_regularizer(tmp_path / "sum.safetensors", both, {})
    again, _ = load_regularizer(tmp_path / "sum.safetensors")
    assert torch.equal(again.field(x, both.constants()), both.field(x))


def test_parts_that_are_replaced_are_those_that_are_saved(tmp_path: Path) -> None:
    x, file = images(1, 1, 6, 5), tmp_path / "r.safetensors"
    for made in (Scaled(ridge()), ridge() + Tikhonov()):
        other = build("tied-conv", filters=3, kernel_size=3).double()
        if isinstance(made, Scaled):
            made.regularizer = other
        else:
            made.parts[0] = other  # type: ignore[union-attr]
        save_regularizer(file, made.double(), {})
        assert torch.equal(load_regularizer(file)[0].field(x), made.field(x))


def test_sums_and_scalings_of_what_cannot_be_saved_keep_the_rest_of_the_contract() -> None:
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    check_saving(Scaled(Residual(network)), (2, 1, 5, 6))
    check_saving(Tikhonov() + Residual(network), (2, 1, 5, 6))


def test_what_does_not_add_is_refused() -> None:
    with pytest.raises(UsageError, match="A weight must be a positive finite number, got -1"):
        -1 * Tikhonov()
    with pytest.raises(UsageError, match="built for other channels"):
        ridge(channels=2) + ridge(channels=3)
    with pytest.raises(UsageError, match="built for other spatial axes"):
        ridge() + ridge(dims=1)
    with pytest.raises(UsageError, match="as many weights"):
        Sum([Tikhonov()], [1.0, 2.0])
    with pytest.raises(UsageError, match="as many weights"):
        Sum([])
    with pytest.raises(UsageError, match="of regularizers, got Linear"):
        Sum([torch.nn.Linear(1, 1)])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        Tikhonov() + 3.0  # type: ignore[operator]


def test_a_field_without_potential_makes_a_sum_without() -> None:
    both = Tikhonov() + Residual(lambda x: 0.5 * x.roll(1, -1))
    assert not both.gradient_field
    assert both.traits().modulus is None
    assert solve(
        Equation(Blur(filter=torch.ones(1, 1, 1, 1)), torch.rand(1, 1, 5, 5), both),
        torch.zeros(1, 1, 5, 5),
    ).all_converged
