"""The preconditioner of the equation: positive definite, exact where that is possible, useful."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import (
    MRI,
    BlurFFT,
    Denoising,
    Inpainting,
    LinearPhysics,
    PoissonNoise,
)
from torch import Tensor

from equipoise import Equation
from equipoise.convolutions.circulant import (
    FLOOR,
    FLOORS,
    LocalInverse,
    LocalKernels,
    local_inverse,
    nearest_multiplier,
    transfer,
)
from equipoise.linear import ConjugateGradients
from equipoise.regularizers import Regularizer, build
from equipoise.solve import LBFGS, NonmonotoneAcceleratedGradient, solve
from equipoise.vectors import norm


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def smooth(*shape: int, seed: int = 0) -> Tensor:
    """Images with flat regions and edges."""
    coarse = normal(*shape[:2], 3, 3, seed=seed)
    return torch.nn.functional.interpolate(coarse, size=shape[2:], mode="nearest")


def dense(product: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Matrix of a map of one image."""
    basis = torch.eye(like[0].numel(), dtype=like.dtype)
    columns = [product(e.reshape(1, *like.shape[1:])).flatten() for e in basis]
    return torch.stack(columns, dim=1)


def made(equation: Equation, x: Tensor) -> LocalInverse:
    preconditioner = equation.preconditioner(x)
    assert preconditioner is not None
    return preconditioner


def ridge(
    channels: int = 1, padding: str = "zero", filters: tuple[int, ...] = (2, 4)
) -> Regularizer:
    torch.manual_seed(0)
    options = {"channels": channels, "filters": filters, "kernel_size": 3, "padding": padding}
    return build("ridge", **options).double()


def blur(shape: tuple[int, ...]) -> BlurFFT:
    kernel = torch.tensor([[1.0, 2.0, 0.5], [0.3, 4.0, 1.0], [0.0, 1.0, 2.0]]).double()
    return BlurFFT(img_size=shape, filter=(kernel / kernel.sum())[None, None])


def asymmetric_mri(height: int, width: int) -> MRI:
    mask = (torch.rand(height, width, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    return MRI(mask=mask, img_size=(1, 2, height, width))


PHYSICS = {
    "denoising": lambda c, h, w: Denoising(),
    "inpainting": lambda c, h, w: Inpainting(
        (c, h, w), mask=(normal(c, h, w, seed=5) > 0).double()
    ),
    "blur": lambda c, h, w: blur((c, h, w)),
}


def make(
    physics: LinearPhysics, regularizer: Regularizer, x: Tensor, alpha: float | Tensor = 0.3
) -> Equation:
    return Equation(physics, physics.A(x), regularizer, alpha)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("task", ["denoising", "blur"])
@pytest.mark.parametrize("shape", [(5, 6), (4, 3)])
def test_it_is_the_inverse_for_periodic_quadratic_equations(
    channels: int, task: str, shape: tuple[int, int]
) -> None:
    torch.manual_seed(1)
    options = {
        "channels": channels,
        "filters": 24,
        "kernel_size": 3,
        "activation": "identity",
        "scale": 1.0,
    }
    regularizer = build("tied-conv", padding="circular", **options).double()
    x = normal(1, channels, *shape)
    equation = make(PHYSICS[task](channels, *shape), regularizer, x)
    jacobian = dense(equation.linearize(x).jvp, x)
    inverse = dense(made(equation, x), x)
    torch.testing.assert_close(inverse @ jacobian, torch.eye(x.numel()).double(), rtol=0, atol=1e-9)


def test_filters_may_be_larger_than_the_image() -> None:
    torch.manual_seed(1)
    options = {"filters": 4, "kernel_size": 7, "activation": "identity", "scale": 1.0}
    regularizer = build("tied-conv", padding="circular", **options).double()
    x = normal(1, 1, 5, 4)
    equation = make(Denoising(), regularizer, x)
    product = dense(equation.linearize(x).jvp, x) @ dense(made(equation, x), x)
    torch.testing.assert_close(product, torch.eye(20).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_periodic_quadratic_equations_take_two_steps(channels: int) -> None:
    torch.manual_seed(1)
    options = {"filters": 24, "kernel_size": 3, "activation": "identity", "scale": 1.0}
    regularizer = build("tied-conv", channels=channels, padding="circular", **options).double()
    x = normal(2, channels, 9, 8)
    equation = make(blur((channels, 9, 8)), regularizer, x)
    solution = solve(equation, torch.zeros_like(x), LBFGS(), tolerance=1e-9)
    assert solution.all_converged
    assert int(solution.evaluations.max()) <= 2
    assert solution.solver == "lbfgs (preconditioned)"


@pytest.mark.parametrize("task", sorted(PHYSICS))
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("shape", [(5, 7), (6, 4)])
def test_it_is_symmetric_positive_definite(
    task: str, channels: int, shape: tuple[int, int]
) -> None:
    x = 3 * smooth(1, 2, *shape)
    equation = make(PHYSICS[task](2, *shape), ridge(channels), x)
    matrix = dense(made(equation, x), x)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-12)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 0


@pytest.mark.parametrize(
    "alpha", [0.3, torch.tensor([0.1, 0.3, 2.0]), torch.tensor([1e-2, 1e2, 1.0])], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_equals_its_samples(alpha: float | Tensor, channels: int) -> None:
    x = smooth(3, 3, 10, 9) * torch.tensor([0.1, 1.0, 5.0]).reshape(3, 1, 1, 1)
    regularizer = ridge(channels)
    equation = make(Denoising(), regularizer, x, alpha)
    together = made(equation, x)
    v = normal(3, 3, 10, 9, seed=4)
    for i in range(3):
        strength = alpha[i] if isinstance(alpha, Tensor) else alpha
        single = make(Denoising(), regularizer, x[i : i + 1], strength)
        expected = made(single, x[i : i + 1])(v[i : i + 1])
        keep = torch.tensor([i])
        torch.testing.assert_close(together(v)[keep], expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(together.select(keep)(v[keep]), expected, rtol=1e-9, atol=1e-12)


def test_batches_and_samples_take_the_same_steps() -> None:
    x = smooth(3, 1, 16, 12) + 0.1 * normal(3, 1, 16, 12)
    regularizer = ridge()
    counts = solve(make(Denoising(), regularizer, x), x, LBFGS(), tolerance=1e-8).evaluations
    for i in range(3):
        single = make(Denoising(), regularizer, x[i : i + 1])
        alone = solve(single, x[i : i + 1], LBFGS(), tolerance=1e-8)
        assert abs(int(alone.evaluations) - int(counts[i])) <= 1


def test_precisions_agree() -> None:
    x = smooth(1, 1, 12, 10)
    double = make(Denoising(), ridge(), x)
    single = make(Denoising(), ridge().float(), x.float())
    v = normal(1, 1, 12, 10, seed=2)
    expected = made(double, x)(v)
    got = made(single, x.float())(v.float())
    assert got.dtype == torch.float32
    assert float(norm(got.double() - expected) / norm(expected)) < 1e-5


def test_the_multiplier_of_a_mask_is_its_mean_and_of_mri_its_symmetric_part() -> None:
    mask = (normal(2, 6, 7, seed=3) > 0.3).double()
    masked = Inpainting((2, 6, 7), mask=mask)
    like = torch.zeros(1, 2, 6, 7).double()
    mean, miss = nearest_multiplier(lambda v: masked.A_adjoint(masked.A(v)), like)
    share = mask.mean((1, 2))
    torch.testing.assert_close(miss, (share * (1 - share)).mean().sqrt().reshape(1))
    torch.testing.assert_close(mean, mask.mean((1, 2)).reshape(1, 2, 1, 1).expand_as(mean))
    mri = asymmetric_mri(8, 6)
    like = torch.zeros(1, 2, 8, 6).double()
    multiplier, _ = nearest_multiplier(lambda v: mri.A_adjoint(mri.A(v)), like)
    centred = torch.fft.ifftshift(mri.mask[0, 0])
    mirrored = centred.roll((-1, -1), (0, 1)).flip(0, 1)
    expected = 0.5 * (centred + mirrored)[:, :4]
    torch.testing.assert_close(multiplier[0, 0], expected, rtol=0, atol=1e-12)


def test_a_mask_for_each_sample() -> None:
    mask = torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)]).double()
    mask[1, 0, ::2] = 1.0
    physics = Inpainting((1, 8, 8), mask=mask)
    x = smooth(2, 1, 8, 8)
    multiplier = make(physics, ridge(), x).data.multiplier(x)
    expected = torch.tensor([1.0, 0.5 + 0.3 * 0.5]).double()
    torch.testing.assert_close(multiplier.mean((1, 2, 3)), expected)


@pytest.mark.parametrize(
    "regularizer",
    ["ridge", "fields-of-experts", "tied-conv", "scaled", "untied-conv"],
)
def test_the_jacobian_needs_fewer_products(regularizer: str) -> None:
    torch.manual_seed(0)
    if regularizer == "scaled":
        field = build("scaled", inner={"name": "ridge"}, strength=3.0, scale=2.0).double()
    else:
        field = build(regularizer).double()
    x = smooth(2, 1, 32, 32) + 0.05 * normal(2, 1, 32, 32)
    equation = make(asymmetric_or_denoising(regularizer), field, x, 0.5)
    point = solve(equation, x, tolerance=1e-6).x
    product = equation.linearize(point).vjp
    g = normal(2, 1, 32, 32, seed=8)
    plain = ConjugateGradients(tolerance=1e-4).solve(product, g)
    better = ConjugateGradients(tolerance=1e-4).solve(
        product, g, preconditioner=made(equation, point)
    )
    assert better.all_converged
    assert int(better.evaluations.max()) < int(plain.evaluations.min())


def asymmetric_or_denoising(regularizer: str) -> LinearPhysics:
    return blur((1, 32, 32)) if regularizer == "fields-of-experts" else Denoising()


def test_solutions_do_not_depend_on_it() -> None:
    x = smooth(2, 1, 32, 24) + 0.1 * normal(2, 1, 32, 24)
    field = ridge()
    with torch.no_grad():
        field.profile.log_slope.fill_(5.0)  # nearly absolute values, as learned ones are
    equation = make(Denoising(), field, x, 1.0)
    good = solve(equation, x, LBFGS(), tolerance=1e-8)
    plain = solve(equation, x, LBFGS(preconditioned=False), tolerance=1e-8)
    other = solve(equation, x, NonmonotoneAcceleratedGradient(), tolerance=1e-8)
    assert plain.solver == "lbfgs"
    for solution in (good, plain, other):
        assert solution.all_converged
        assert float((norm(good.x - solution.x) / norm(x)).max()) < 3e-8  # E is 1-monotone


@pytest.mark.parametrize("task", ["denoising", "inpainting"])
@pytest.mark.parametrize("activation", ["relu", "soft-shrink"])
@pytest.mark.parametrize("alpha", [0.03, 0.3])
def test_it_does_no_harm_where_there_is_nothing_to_gain(
    task: str, activation: str, alpha: float
) -> None:
    """White noise has no parts, and potentials with kinks no mean curvature."""
    torch.manual_seed(0)
    regularizer = build("tied-conv", activation=activation).double()
    equation = make(PHYSICS[task](1, 16, 16), regularizer, normal(2, 1, 16, 16), alpha)
    good = solve(equation, equation.adjoint_data, LBFGS(), tolerance=1e-6)
    plain = solve(equation, equation.adjoint_data, LBFGS(preconditioned=False), tolerance=1e-6)
    assert good.all_converged
    assert plain.all_converged
    assert int(good.evaluations.max()) <= 1.1 * int(plain.evaluations.max())


def test_complex_images_of_mri() -> None:
    physics = asymmetric_mri(16, 12)
    x = smooth(2, 2, 16, 12)
    torch.manual_seed(0)
    equation = make(physics, build("fields-of-experts").double(), x, 0.02)
    good = solve(equation, equation.adjoint_data, LBFGS(), tolerance=1e-4)
    plain = solve(equation, equation.adjoint_data, LBFGS(preconditioned=False), tolerance=1e-4)
    assert good.all_converged
    assert plain.all_converged
    assert int(good.evaluations.max()) < int(plain.evaluations.max())
    assert float(norm(equation.residual(good.x)).max()) < 1e-4 * float(equation.scale.max())


def test_counts_have_a_preconditioner_at_every_point() -> None:
    physics = Denoising(PoissonNoise(0.1))
    x = 1.0 + 0.2 * smooth(1, 1, 16, 16)
    equation = Equation(physics, x, ridge(), 0.5, PoissonLikelihood(gain=0.1, bkg=0.1))
    here, there = made(equation, x), made(equation, 2 * x)
    v = normal(1, 1, 16, 16)
    assert float((v * here(v)).sum()) > 0
    assert float(norm(here(v) - there(v))) > 1e-3
    solution = solve(equation, x, LBFGS(), tolerance=1e-7)
    assert solution.all_converged


@pytest.mark.parametrize("name", ["tied-dense", "contractive"])
def test_dense_operators_and_networks_have_none(name: str) -> None:
    options = {"image_shape": (1, 6, 6), "features": 4} if name == "tied-dense" else {}
    equation = make(Denoising(), build(name, **options).double(), normal(2, 1, 6, 6))
    assert equation.preconditioner(equation.adjoint_data) is None
    solution = solve(equation, equation.adjoint_data, tolerance=1e-6)
    assert solution.all_converged
    assert "preconditioned" not in solution.solver


def test_zero_curvature_leaves_it_bounded() -> None:
    """Soft shrinkage of small features has no curvature, and the mask sees only half."""
    torch.manual_seed(0)
    field = build("tied-conv", activation="soft-shrink").double()
    x = 1e-6 * normal(1, 1, 10, 10)
    equation = make(PHYSICS["blur"](1, 10, 10), field, x)
    matrix = dense(made(equation, x), x)
    values = torch.linalg.eigvalsh(matrix)
    assert bool(torch.isfinite(values).all())
    assert float(values.min()) > 0
    assert float(values.max()) <= 1 / FLOOR + 1


def test_the_floor_raises_small_eigenvalues() -> None:
    kernels = torch.zeros(1, 1, 1, 1, 3, 3).double()
    kernels[..., 1, 1] = 1e-9
    multiplier = torch.ones(1, 1, 4, 3).double()
    multiplier[..., 2, 1] = 0.0
    inverse = local_inverse(LocalKernels(torch.ones(1, 1, 4, 4).double(), kernels), multiplier)
    assert float(inverse.blocks.max()) == pytest.approx(1 / FLOOR)


def test_the_floor_is_fitted_to_steps_and_changes() -> None:
    """Steps of the operator itself keep its small eigenvalues; those of a multiple of I do not."""
    kernels = torch.tensor([0.0, -1.0, 0.0, -1.0, 4.0, -1.0, 0.0, -1.0, 0.0]).reshape(
        1, 1, 1, 1, 3, 3
    )
    local = LocalKernels(torch.ones(1, 1, 16, 16).double(), 100.0 * kernels.double())
    multiplier = torch.ones(1, 1, 1, 1).double()
    inverse = local_inverse(local, multiplier, 1e-6)
    start = local_inverse(local, multiplier)
    changes = normal(3, 1, 16, 16)
    steps = torch.cat([inverse(change[None]) for change in changes])
    fitted = start.adapted(steps[None], changes[None])
    assert float(fitted.floor) == FLOORS[0]
    assert bool(torch.isnan(fitted.factor).all())
    plain = start.adapted(steps[None], 7.0 * steps[None])
    assert float(plain.floor) == 1.0
    v = normal(1, 1, 16, 16)
    torch.testing.assert_close(plain(v), plain.factor * v)
    kept = start.adapted(torch.zeros_like(steps[None]), changes[None])
    assert float(kept.floor) == FLOOR
    torch.testing.assert_close(kept.blocks, start.blocks)


def test_every_sample_has_a_floor_of_its_own() -> None:
    torch.manual_seed(0)
    regularizer = build("tied-conv", activation="relu").double()
    y = torch.cat([normal(1, 1, 16, 16), smooth(1, 1, 16, 16)])
    together = solve(make(Denoising(), regularizer, y, 0.3), y, LBFGS(), tolerance=1e-8)
    assert together.all_converged
    for i in range(2):
        one = y[i : i + 1]
        alone = solve(make(Denoising(), regularizer, one, 0.3), one, LBFGS(), tolerance=1e-8)
        assert int(alone.evaluations) == int(together.evaluations[i])
        torch.testing.assert_close(alone.x, together.x[i : i + 1])


def test_transfer_functions_of_centred_kernels() -> None:
    kernel = normal(3, 5)
    shape = (7, 4)  # narrower than the kernel: it wraps around
    waves = transfer(kernel, shape)
    for a, b in ((0, 0), (3, 1), (6, 2)):
        expected = sum(
            kernel[i, j]
            * torch.exp(torch.tensor(-2j * torch.pi * (a * (i - 1) / 7 + b * (j - 2) / 4)))
            for i in range(3)
            for j in range(5)
        )
        assert complex(waves[a, b]) == pytest.approx(complex(expected), abs=1e-6)
