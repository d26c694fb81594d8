"""The equation against dense float64 matrices: values, products, energy, bounds, selection."""

from __future__ import annotations

import pytest
import torch
from deepinv.optim import L2, DataFidelity
from deepinv.physics import BlurFFT, Denoising, Inpainting
from torch import Tensor

from equipoise.bounds import Kind
from equipoise.equation import Equation
from equipoise.errors import NoPotentialError
from equipoise.gram import Gram, singular_values
from equipoise.regularizers import Residual, Tikhonov
from equipoise.solve import solve
from equipoise.solve.resolvent import Resolvent
from equipoise.testing import dense_jacobian, dense_physics, dense_products, directional_difference
from equipoise.vectors import norm
from small_problems import (
    DECOMPOSABLE,
    PHYSICS,
    dense,
    field,
    image_shape,
    measure,
    normal,
    physics,
    skewed,
)

FIELDS = ("tied-conv", "untied-conv", "contractive", "wcrr")

ALPHA = 0.7


def make(
    name: str,
    regularizer: str = "tied-conv",
    alpha: float | Tensor = ALPHA,
    batch: int = 1,
    fidelity: DataFidelity | None = None,
) -> Equation:
    operator = physics(name)
    y = measure(operator, (batch, *image_shape(name)))
    return Equation(operator, y, field(regularizer), alpha, fidelity)


def matrix(equation: Equation) -> Tensor:
    """A as a matrix; complex measurements or two-channel ones are real there."""
    return dense_physics(equation.physics, equation.adjoint_data[:1])


# ---- values and products -------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("regularizer", FIELDS)
def test_residual_follows_the_formula(name: str, regularizer: str) -> None:
    equation = make(name, regularizer)
    x = normal(*equation.image_shape, seed=2)
    A, y = matrix(equation), equation.y.flatten()
    data = A.T @ (A @ x.flatten() - y)
    expected = data.view_as(x) + ALPHA * equation.regularizer.field(x).detach()
    torch.testing.assert_close(equation.residual(x), expected, rtol=1e-11, atol=1e-12)
    live = equation.differentiable_residual(x)
    torch.testing.assert_close(live.detach(), expected, rtol=1e-11, atol=1e-12)
    assert live.requires_grad
    assert not equation.residual(x).requires_grad


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("regularizer", FIELDS)
def test_products_are_those_of_the_dense_jacobian(name: str, regularizer: str) -> None:
    equation = make(name, regularizer)
    x = normal(*equation.image_shape, seed=2)
    A, near = matrix(equation), equation.linearize(x)
    expected = A.T @ A + ALPHA * dense_jacobian(equation.regularizer, x)
    torch.testing.assert_close(dense_products(near.jvp, x), expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(dense_products(near.vjp, x), expected.T, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(dense(equation, x), expected, rtol=1e-10, atol=1e-11)
    assert torch.allclose(expected, expected.T) is equation.gradient_field


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("regularizer", ["tied-conv", "wcrr"])
def test_residual_is_the_gradient_of_the_energy(name: str, regularizer: str) -> None:
    alpha = torch.tensor([0.4, 1.3], dtype=torch.float64)
    equation = make(name, regularizer, alpha, batch=2)
    x, v = normal(*equation.image_shape, seed=2), normal(*equation.image_shape, seed=3)
    energy, slope = equation.potential_and_residual(x)
    misfit = equation.physics.A(x) - equation.y
    expected = 0.5 * misfit.flatten(1).square().sum(1) + alpha * equation.regularizer.potential(x)
    torch.testing.assert_close(energy, expected.detach())
    torch.testing.assert_close(slope, equation.residual(x))
    difference = directional_difference(lambda z: equation.potential_and_residual(z)[0], x, v)
    torch.testing.assert_close((slope * v).flatten(1).sum(1), difference, rtol=1e-6, atol=1e-6)


def test_fields_that_are_no_gradients_have_no_energy() -> None:
    equation = make("inpaint", "untied-conv")
    assert not equation.gradient_field
    with pytest.raises(NoPotentialError):
        equation.potential_and_residual(equation.adjoint_data)


def test_scale_is_the_size_of_the_equation_at_the_nearest_constant() -> None:
    alpha = torch.tensor([0.4, 1.3], dtype=torch.float64)
    equation = make("denoise", alpha=alpha, batch=2)
    pull = equation.regularizer.field(torch.zeros(1, *equation.image_shape[1:]).double()).detach()
    assert float(norm(pull)) > 0.1  # the biases of the field pull
    pull = pull - pull.mean()
    for k, one in enumerate(equation.y):
        # Of the entries the twentieth farthest from the median is cut to where the rest ends.
        rest = one - one.flatten().median()
        count = rest.numel()
        end = rest.abs().flatten().sort().values[count - max(1, int(0.05 * count)) - 1]
        level = one.flatten().median() + rest.clamp(-end, end).mean()
        slope = level - one
        end = slope.abs().flatten().sort().values[count - max(1, int(0.05 * count)) - 1]
        expected = (slope.clamp(-end, end) + alpha[k] * pull[0]).norm()
        torch.testing.assert_close(equation.scale[k], expected)


def test_scale_of_a_trivial_equation_is_one() -> None:
    equation = Equation(physics("denoise"), torch.zeros(2, 1, 4, 4), Tikhonov())
    assert equation.scale.tolist() == [1.0, 1.0]


# ---- alpha ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("regularizer", ["tied-conv", "untied-conv"])
@pytest.mark.parametrize("name", ["inpaint", "valid"])
def test_every_sample_has_its_own_alpha(name: str, regularizer: str) -> None:
    alpha = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    equation = make(name, regularizer, alpha, batch=3)
    x, v = normal(*equation.image_shape, seed=2), normal(*equation.image_shape, seed=3)
    near = equation.linearize(x)
    for k in range(3):
        one = Equation(
            equation.physics, equation.y[k : k + 1], equation.regularizer, float(alpha[k])
        )
        part = slice(k, k + 1)
        alone = one.linearize(x[part])
        torch.testing.assert_close(equation.residual(x)[part], one.residual(x[part]))
        torch.testing.assert_close(near.jvp(v)[part], alone.jvp(v[part]))
        torch.testing.assert_close(near.vjp(v)[part], alone.vjp(v[part]))
        torch.testing.assert_close(equation.scale[part], one.scale)
        if one.gradient_field:
            energy = equation.potential_and_residual(x)[0][part]
            torch.testing.assert_close(energy, one.potential_and_residual(x[part])[0])


@pytest.mark.parametrize(
    "alpha",
    [
        torch.tensor(ALPHA, dtype=torch.float64),
        torch.tensor([ALPHA], dtype=torch.float64),
        torch.full((2,), ALPHA, dtype=torch.float64),
        torch.nn.Parameter(torch.tensor(ALPHA, dtype=torch.float64)),
    ],
    ids=["0-d", "one entry", "per sample", "parameter"],
)
def test_alpha_may_be_a_tensor(alpha: Tensor) -> None:
    equation, plain = make("inpaint", alpha=alpha, batch=2), make("inpaint", batch=2)
    x = normal(*plain.image_shape, seed=2)
    torch.testing.assert_close(equation.residual(x), plain.residual(x))
    energy, expected = (e.potential_and_residual(x)[0] for e in (equation, plain))
    torch.testing.assert_close(energy, expected)
    assert equation.modulus == plain.modulus
    assert equation.lipschitz == plain.lipschitz
    assert not equation.residual(x).requires_grad
    assert not energy.requires_grad


# ---- parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHYSICS)
def test_selection_is_part_of_the_whole(name: str) -> None:
    alpha = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    whole = make(name, "tied-conv", alpha, batch=3)
    keep = torch.tensor([2, 0])
    part = whole.select(keep)
    assert part is not None
    x, v = normal(*whole.image_shape, seed=2), normal(*whole.image_shape, seed=3)
    torch.testing.assert_close(part.residual(x[keep]), whole.residual(x)[keep])
    torch.testing.assert_close(part.scale, whole.scale[keep])
    torch.testing.assert_close(part.like, whole.adjoint_data[keep])
    near, full = part.linearize(x[keep]), whole.linearize(x)
    torch.testing.assert_close(near.jvp(v[keep]), full.jvp(v)[keep])
    for found, expected in zip(
        part.potential_and_residual(x[keep]), whole.potential_and_residual(x), strict=True
    ):
        torch.testing.assert_close(found, expected[keep])
    again = part.select(torch.tensor([0]))
    assert again is not None
    torch.testing.assert_close(again.residual(x[2:]), whole.residual(x)[2:])


def test_selection_keeps_one_alpha_for_all() -> None:
    for alpha in (0.3, torch.tensor([0.3], dtype=torch.float64)):
        whole = make("inpaint", alpha=alpha, batch=3)
        x = normal(*whole.image_shape, seed=2)
        part = whole.select(torch.tensor([1]))
        assert part is not None
        torch.testing.assert_close(part.residual(x[1:2]), whole.residual(x)[1:2])


def test_physics_with_one_mask_per_sample_is_not_cut() -> None:
    mask = (normal(2, 1, 5, 6, seed=4) > 0).double()
    operator = Inpainting((1, 5, 6), mask=mask)
    equation = Equation(operator, mask * normal(2, 1, 5, 6), field("tied-conv"), ALPHA)
    assert equation.select(torch.tensor([0])) is None
    x = normal(2, 1, 5, 6, seed=2)
    expected = mask * x - equation.y + ALPHA * equation.regularizer.field(x).detach()
    torch.testing.assert_close(equation.residual(x), expected)
    solution = solve(equation, equation.adjoint_data, tolerance=1e-9)
    assert solution.all_converged
    for k in range(2):
        single = Inpainting((1, 5, 6), mask=mask[k])
        one = Equation(single, equation.y[k : k + 1], equation.regularizer, ALPHA)
        alone = solve(one, one.adjoint_data, tolerance=1e-9)
        torch.testing.assert_close(solution.x[k : k + 1], alone.x, rtol=0, atol=1e-6)


# ---- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("regularizer", FIELDS)
@pytest.mark.parametrize("alpha", [0.05, torch.tensor([0.2, 2.0], dtype=torch.float64)])
def test_bounds_dominate_the_dense_eigenvalues(
    name: str, regularizer: str, alpha: float | Tensor
) -> None:
    equation = make(name, regularizer, alpha, batch=2)
    assert equation.modulus is not None
    assert equation.lipschitz is not None
    assert equation.modulus.proved  # 0 is safe where no decomposition gives more
    assert equation.lipschitz.proved is (name in DECOMPOSABLE)
    largest = 0.0
    for k in range(2):
        one = Equation(
            equation.physics,
            equation.y[k : k + 1],
            equation.regularizer,
            alpha if isinstance(alpha, float) else float(alpha[k]),
        )
        for size in (0.01, 1.0, 10.0):
            J = dense(one, size * normal(*one.image_shape, seed=2))
            low = float(torch.linalg.eigvalsh(0.5 * (J + J.T))[0])
            assert equation.modulus.value <= low + 1e-12
            largest = max(largest, float(torch.linalg.matrix_norm(J, 2)))
    # The estimated norm of A is from below, and close.
    slack = 1.0 if equation.lipschitz.proved else 0.9
    assert equation.lipschitz.value >= slack * largest


@pytest.mark.parametrize("regularizer", ["wcrr", "untied-conv", "contractive"])
def test_the_modulus_is_that_of_the_least_monotone_sample(regularizer: str) -> None:
    alpha = torch.tensor([0.2, 3.0], dtype=torch.float64)
    r, operator = field(regularizer), physics("denoise")
    both = Equation(operator, normal(2, 1, 5, 6), r, alpha).modulus
    each = [Equation(operator, normal(1, 1, 5, 6), r, float(a)).modulus for a in alpha]
    assert both is not None
    assert both.value == min(one.value for one in each if one is not None)
    assert len({one.value for one in each if one is not None}) == 2


@pytest.mark.parametrize("name", DECOMPOSABLE)
def test_bounds_of_decomposable_physics_are_exact(name: str) -> None:
    operator = physics(name)
    equation = Equation(operator, measure(operator, (1, *image_shape(name))), Tikhonov(), ALPHA)
    A = matrix(equation)
    eigenvalues = torch.linalg.eigvalsh(A.T @ A)
    assert equation.modulus.kind is equation.lipschitz.kind is Kind.PROVED
    expected = (float(eigenvalues[0]) + ALPHA, float(eigenvalues[-1]) + ALPHA)
    assert equation.modulus.value == pytest.approx(expected[0], rel=2e-6, abs=1e-9)
    assert equation.lipschitz.value == pytest.approx(expected[1], rel=2e-6)
    assert equation.modulus.value <= expected[0] + 1e-14
    assert equation.lipschitz.value >= expected[1]


def test_bounds_hold_of_the_kernel_though_its_transform_is_rounded() -> None:
    rounded_up = 0
    for seed in range(20):
        kernel = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
        kernel = kernel / kernel.sum()
        blur = BlurFFT((1, 24, 24), filter=kernel)
        exact = torch.fft.fft2(kernel.double(), s=(24, 24)).abs().square()
        low, high = Gram(blur, torch.zeros(1, 1, 24, 24)).bounds
        assert low.kind is high.kind is Kind.PROVED
        assert low.value <= float(exact.min())
        assert high.value >= float(exact.max())
        rounded_up += float(singular_values(blur).min()) ** 2 > float(exact.min())
    assert rounded_up > 3


def test_unknown_traits_stay_unknown() -> None:
    equation = Equation(physics("denoise"), normal(1, 1, 4, 4), Residual(torch.tanh))
    assert equation.modulus is None
    assert equation.lipschitz is None
    assert not equation.disc
    assert solve(equation, equation.adjoint_data).error_bound is None


# ---- the resolvent -------------------------------------------------------------------------------


@pytest.mark.parametrize("regularizer", ["contractive", "wcrr", "untied-conv"])
@pytest.mark.parametrize("name", DECOMPOSABLE)
@pytest.mark.parametrize("sigma", [1.0, 0.25])
def test_resolvent_is_the_exact_inverse(name: str, regularizer: str, sigma: float) -> None:
    equation = make(name, regularizer, batch=2, fidelity=L2(sigma))
    found = equation.resolvent()
    assert found is not None
    inverse, c = found
    traits = equation.traits
    assert c == pytest.approx(0.5 * ALPHA * (traits.modulus.value + traits.lipschitz.value))
    A = matrix(equation)
    dense_inverse = torch.linalg.inv(A.T @ A / sigma**2 + c * torch.eye(A.shape[1]).double())
    v = normal(*equation.image_shape, seed=5)
    expected = (v.flatten(1) @ dense_inverse).view_as(v)
    torch.testing.assert_close(inverse(v), expected, rtol=1e-11, atol=1e-12)


def test_resolvent_is_exact_though_the_physics_is_in_single_precision() -> None:
    # deepinv keeps the singular value 1 of denoising in float32, whatever the images are in.
    equation = Equation(Denoising(), normal(1, 1, 5, 6), Tikhonov(), ALPHA)
    inverse, c = equation.resolvent()
    v = normal(1, 1, 5, 6, seed=5)
    torch.testing.assert_close(inverse(v), v / (1 + c), rtol=1e-15, atol=0)
    assert equation.lipschitz.proved


def test_resolvent_without_known_constants_uses_alpha() -> None:
    equation = Equation(physics("inpaint"), normal(1, 1, 5, 6), Residual(torch.tanh), ALPHA)
    assert equation.resolvent()[1] == ALPHA


@pytest.mark.parametrize("name", sorted(set(PHYSICS) - set(DECOMPOSABLE)))
def test_other_physics_have_no_resolvent(name: str) -> None:
    assert make(name).resolvent() is None


@pytest.mark.parametrize("made_of_frames", [False, True])
def test_decompositions_that_do_not_hold_are_not_used(made_of_frames: bool) -> None:
    operator = skewed(made_of_frames)
    equation = Equation(operator, measure(operator, (1, 1, 5, 6)), field("contractive"), ALPHA)
    assert equation.resolvent() is None
    A = matrix(equation)
    largest = float(torch.linalg.eigvalsh(A.T @ A)[-1])
    high = equation.lipschitz
    assert high.kind is Kind.ESTIMATED
    assert high.value - ALPHA * equation.traits.lipschitz.value == pytest.approx(largest, rel=0.1)
    assert equation.modulus.value <= ALPHA * equation.traits.modulus.value  # 0 of A^T A
    solution = solve(equation, equation.adjoint_data, tolerance=1e-8)
    assert solution.all_converged
    with pytest.raises(ValueError, match="Gram matrix"):
        solve(equation, equation.adjoint_data, Resolvent())


@pytest.mark.parametrize("name", ["denoise", "circular"])
def test_single_precision_keeps_its_decomposition(name: str) -> None:
    kernel = torch.tensor([[0.1, 0.2], [0.3, 0.4]])[None, None]
    operator = Denoising() if name == "denoise" else BlurFFT((1, 16, 15), filter=kernel)
    equation = Equation(operator, torch.rand(2, 1, 16, 15), Tikhonov(), ALPHA)
    assert equation.lipschitz.proved
    inverse, c = equation.resolvent()
    v = torch.rand(2, 1, 16, 15)
    again = operator.A_adjoint(operator.A(inverse(v))) + c * inverse(v)
    torch.testing.assert_close(again, v, rtol=1e-4, atol=1e-5)


# ---- weighted squared norm -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inpaint", "circular", "valid", "mixing"])
def test_noise_level_of_the_squared_norm_is_a_weight(name: str) -> None:
    weighted = make(name, fidelity=L2(sigma=0.5))
    plain = make(name, alpha=ALPHA / 4)
    x, v = normal(*plain.image_shape, seed=2), normal(*plain.image_shape, seed=3)
    torch.testing.assert_close(weighted.residual(x), 4 * plain.residual(x))
    torch.testing.assert_close(weighted.linearize(x).jvp(v), 4 * plain.linearize(x).jvp(v))
    energy, expected = (e.potential_and_residual(x)[0] for e in (weighted, plain))
    torch.testing.assert_close(energy, 4 * expected)
    live = weighted.differentiable_residual(x).detach()
    torch.testing.assert_close(live, 4 * plain.residual(x))
    assert weighted.modulus.value == pytest.approx(4 * plain.modulus.value)
    assert weighted.lipschitz.value == pytest.approx(4 * plain.lipschitz.value)
    torch.testing.assert_close(weighted.scale, 4 * plain.scale)
    fidelity = L2(sigma=0.5)
    data = fidelity.grad(x, weighted.y, weighted.physics)
    expected_residual = data + ALPHA * weighted.regularizer.field(x).detach()
    torch.testing.assert_close(weighted.residual(x), expected_residual)
    part = make(name, fidelity=L2(sigma=0.5), batch=2).select(torch.tensor([1]))
    torch.testing.assert_close(
        part.residual(x), make(name, fidelity=L2(0.5), batch=2).residual(x.repeat(2, 1, 1, 1))[1:]
    )
