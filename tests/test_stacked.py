"""Physics that measure several tensors: their data terms add."""

from __future__ import annotations

import pytest
import torch
from deepinv.optim import L2, DataFidelity, PoissonLikelihood, StackedPhysicsDataFidelity
from deepinv.physics import Denoising, LinearPhysics, Pansharpen, compose, stack
from deepinv.utils import TensorList
from torch import Tensor

from equipoise import (
    Equation,
    EquilibriumReconstructor,
    InputError,
    SolveOptions,
    TrainSettings,
    UsageError,
)
from equipoise.adjointness import adjoint_defect
from equipoise.certify import certify, error_bound
from equipoise.data_term import data_term
from equipoise.learn import learn
from equipoise.problems import from_physics
from equipoise.regularizers import Tikhonov
from equipoise.solve import solve
from equipoise.stacked import JoinedPhysics, StackedDataTerm, joined
from equipoise.testing import dense_physics, dense_products
from small_problems import field, image_shape, measure, normal, physics

SHAPE = image_shape("circular")
PARTS = ("inpaint", "valid", "mixing")


def stacked(*names: str) -> LinearPhysics:
    return stack(*(physics(name) for name in names))


def measurements(names: tuple[str, ...], batch: int = 2) -> list[Tensor]:
    return [measure(physics(name), (batch, *SHAPE)) for name in names]


def solved(equation: Equation) -> Tensor:
    solution = solve(equation, equation.like, tolerance=1e-12)
    assert solution.all_converged
    return solution.x


def test_the_solution_is_that_of_all_rows_together() -> None:
    y = measurements(PARTS)
    matrices = [dense_physics(physics(name), normal(1, *SHAPE)) for name in PARTS]
    rows, data = torch.cat(matrices), torch.cat([part.flatten(1) for part in y], 1)
    expected = torch.linalg.solve(rows.T @ rows + 0.3 * torch.eye(30).double(), (data @ rows).T)
    equation = Equation(stacked(*PARTS), TensorList(y), Tikhonov().double(), 0.3)
    x = solved(equation)
    torch.testing.assert_close(x.flatten(1), expected.T, rtol=0, atol=1e-10)
    assert bool((error_bound(equation, x) < 1e-9).all())
    found = certify(equation, x=x, truth=x).find("operator_norm_lower")
    assert found is not None
    assert found.value == pytest.approx(float(torch.linalg.matrix_norm(rows, 2)))


@pytest.mark.parametrize(
    ("names", "proved"), [(("circular", "denoise"), True), (("denoise", "valid"), False)]
)
def test_the_ends_of_the_spectrum_are_between_those_of_the_parts(
    names: tuple[str, ...], proved: bool
) -> None:
    y = measurements(names)
    equation = Equation(stacked(*names), TensorList(y), Tikhonov().double(), 0.3)
    rows = torch.cat([dense_physics(physics(name), normal(1, *SHAPE)) for name in names])
    exact = torch.linalg.svdvals(rows).square()
    low, high = equation.data.spectrum
    assert low.proved
    assert 0 < low.value <= float(exact[-1])
    assert high.proved == proved
    if proved:
        assert high.value >= float(exact[0])
    assert equation.modulus is not None
    assert equation.modulus.value == pytest.approx(low.value + 0.3)


def test_derivatives_reach_every_part() -> None:
    y = [part.requires_grad_() for part in measurements(PARTS)]
    options = SolveOptions(tolerance=1e-12)
    model = EquilibriumReconstructor(field("tikhonov"), 0.3, options=options)
    weights = normal(2, *SHAPE, seed=5)

    def loss(parts: list[Tensor]) -> Tensor:
        return (weights * model(TensorList(parts), stacked(*PARTS))).sum()

    loss(y).backward()
    for place, part in enumerate(y):
        direction = normal(*part.shape, seed=place)
        moved = []
        for size in (1e-5, -1e-5):
            shifted = [p.detach() for p in y]
            shifted[place] = shifted[place] + size * direction
            moved.append(float(loss(shifted).detach()))
        slope = (moved[0] - moved[1]) / 2e-5
        assert part.grad is not None
        assert float((part.grad * direction).sum()) == pytest.approx(slope, rel=1e-6)


def mixture() -> tuple[list[Tensor], list[DataFidelity]]:
    """Gaussian data of one part and counts of another."""
    clean = physics("circular").A(normal(2, *SHAPE, seed=4).abs())
    counts = torch.poisson(20 * clean.clamp_min(0.1), torch.Generator().manual_seed(0))
    return [measurements(PARTS)[0], counts], [L2(sigma=0.5), PoissonLikelihood(gain=1, bkg=0.5)]


def mixed_equation() -> Equation:
    y, fidelities = mixture()
    made = stacked("inpaint", "circular")
    identity = Tikhonov().double()
    return Equation(made, TensorList(y), identity, 0.3, StackedPhysicsDataFidelity(fidelities))


def test_terms_of_different_noise_add() -> None:
    y, fidelities = mixture()
    equation, x = mixed_equation(), normal(2, *SHAPE, seed=8).abs()
    assert isinstance(equation.data, StackedDataTerm)
    names = ("inpaint", "circular")
    terms = [data_term(physics(n), p, f) for n, p, f in zip(names, y, fidelities, strict=True)]
    energies, slopes = zip(*(term.energy_and_gradient(x) for term in terms), strict=True)
    energy, slope = equation.data.energy_and_gradient(x)
    torch.testing.assert_close(energy, energies[0] + energies[1])
    torch.testing.assert_close(slope, slopes[0] + slopes[1])
    torch.testing.assert_close(equation.data.gradient(x), slope)
    v = normal(2, *SHAPE, seed=9)
    torch.testing.assert_close(
        equation.data.hessian(x)(v), sum(term.hessian(x)(v) for term in terms)
    )
    inside = equation.in_domain(torch.stack([x[0], x[1] - 10]))
    assert inside is not None
    assert inside.tolist() == [True, False]
    low, high = equation.data.spectrum
    assert low.proved
    assert low.value == sum(term.spectrum[0].value for term in terms)
    assert high.value == sum(term.spectrum[1].value for term in terms)


def test_a_batch_of_mixed_terms_is_solved_as_its_samples() -> None:
    equation = mixed_equation()
    x = solved(equation)
    one = equation.select(torch.tensor([1]))
    assert one is not None
    torch.testing.assert_close(solved(one), x[1:], rtol=0, atol=1e-9)
    again = equation.with_measurements(equation.y.flip(0))
    torch.testing.assert_close(solved(again), x.flip(0), rtol=0, atol=1e-9)
    jacobian = dense_products(one.linearize(x[1:]).jvp, x[1:])
    assert float(torch.linalg.eigvalsh(jacobian)[0]) >= one.modulus.value - 1e-9  # type: ignore[union-attr]


def test_one_fidelity_counts_for_every_part() -> None:
    clean = [physics(name).A(normal(2, *SHAPE, seed=4).abs()) for name in ("denoise", "inpaint")]
    likelihood, x = PoissonLikelihood(gain=1, bkg=0.5), normal(2, *SHAPE, seed=6).abs()
    identity, made = Tikhonov().double(), stacked("denoise", "inpaint")
    single = Equation(made, TensorList(clean), identity, 0.3, likelihood)
    double = StackedPhysicsDataFidelity([likelihood, likelihood])
    assert torch.equal(
        single.residual(x), Equation(made, TensorList(clean), identity, 0.3, double).residual(x)
    )


class Fourier(LinearPhysics):
    """Complex measurements of real images."""

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return torch.fft.rfft2(x)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        whole = torch.zeros(*y.shape[:-1], 6, dtype=y.dtype)
        whole[..., : y.shape[-1]] = y
        return 30 * torch.fft.ifft2(whole).real


def test_complex_parts_keep_inner_products() -> None:
    problem = from_physics(stack(Fourier(), Denoising()), SHAPE, sigma=0.5, dtype=torch.float64)
    assert adjoint_defect(problem.physics, SHAPE, torch.float64) < 1e-13
    x = normal(2, *SHAPE)
    y = problem.physics.A(x)
    assert isinstance(problem.physics, JoinedPhysics)
    first, second = problem.physics.split(y)
    torch.testing.assert_close(first, torch.fft.rfft2(x))
    torch.testing.assert_close(second, x)
    assert torch.equal(problem.physics.join([first, second]), y)
    assert y.dtype == torch.float64


def test_parts_move_with_the_joined_physics() -> None:
    made = stacked(*PARTS)
    y = TensorList(measurements(PARTS))
    assert len(list(made.buffers())) < len(list(JoinedPhysics(made, y).buffers()))
    assert all(buffer.is_meta for buffer in JoinedPhysics(made, y).to("meta").buffers())


def test_pansharpening_is_learned_and_certified() -> None:
    problem = from_physics(lambda shape: Pansharpen(shape), (3, 16, 16), sigma=0.02)
    images = [normal(3, 20, 20, seed=k).float().abs() for k in range(3)]
    settings = TrainSettings(steps=1, patches=2, patch_size=16, batch_size=2, augment=True)
    config = {"filters": (2, 3), "kernel_size": 3}
    result = learn("crr", config, problem, images, images[:1], settings, validation_crop=16)
    truth = images[0][None, :, :16, :16]
    y = problem.measure(truth, torch.Generator().manual_seed(0))
    assert isinstance(problem.physics, JoinedPhysics)
    model = EquilibriumReconstructor(result.regularizer)
    x = model(problem.physics.split(y), Pansharpen((3, 16, 16)))
    assert model.last_solution is not None
    assert model.last_solution.all_converged
    assert torch.equal(x, model(y, problem.physics))
    equation = model.equation(y, problem.physics)
    kernel = certify(equation, x=x.detach(), truth=truth).find("kernel_dimension")
    assert kernel is not None
    assert kernel.value == 3 * 16**2 - (3 * 4**2 + 16**2)


def test_what_does_not_fit_is_refused() -> None:
    made, y, identity = stacked(*PARTS), measurements(PARTS), Tikhonov().double()
    with pytest.raises(InputError, match="measures 3 tensors"):
        Equation(made, y[0], identity)
    with pytest.raises(InputError, match="parts of the measurements must have shapes"):
        joined(JoinedPhysics(made, TensorList(y)), TensorList(y[:2]))
    with pytest.raises(InputError, match="does not accept measurements"):
        Equation(made, TensorList([part[..., :-1] for part in y]), identity)
    with pytest.raises(InputError, match="as many samples"):
        Equation(made, TensorList([y[0], y[1], y[2][:1]]), identity)
    several = StackedPhysicsDataFidelity([L2(), L2()])
    x = normal(2, *SHAPE)
    with pytest.raises(UsageError, match="3 parts, but there are 2 terms"):
        Equation(made, TensorList(y), identity, 1.0, several).residual(x)
    with pytest.raises(UsageError, match="measurements in several parts"):
        Equation(physics("inpaint"), y[0], identity, 1.0, several).residual(x)
    whole = compose(Denoising(), made)
    with pytest.raises(UsageError, match="cannot be told apart"):
        Equation(whole, whole.A(x), identity, 1.0, several).residual(x)
    assert solved(Equation(whole, whole.A(x), identity)).shape == x.shape
