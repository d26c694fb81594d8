"""What residuals are measured by: CONVERGED means solved, whatever the data."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import BlurFFT, Denoising, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.equation import Equation
from equipoise.equilibrium import Equilibrium
from equipoise.gauge import Gauge, clipped, level_and_spread, scale_above_rounding
from equipoise.regularizers import Regularizer, Residual, build
from equipoise.solve import FixedPoint, solve
from equipoise.solve.rounding import STEEP, UNITS, Rounding
from equipoise.status import Solution, Status
from equipoise.vectors import norm

SHAPE = (1, 24, 20)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def picture() -> Tensor:
    """Steps and a slope, values in [0, 1], (1, 1, 24, 20)."""
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    x[..., 6:18, 5:12] = 0.7
    return x + torch.linspace(0.0, 0.3, SHAPE[2], dtype=torch.float64)


class Rows(LinearPhysics):
    """A matrix whose rows are of many sizes."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        n = math.prod(SHAPE)
        sizes = torch.logspace(-2, 0, n + 50, dtype=torch.float64)[:, None]
        self.register_buffer("matrix", (sizes * normal(n + 50, n, seed=3)).to(dtype))

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x.flatten(1) @ self.matrix.mT

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return (y @ self.matrix).reshape(-1, *SHAPE)


def physics(name: str) -> LinearPhysics:
    if name == "mask":
        return Inpainting(SHAPE, mask=(normal(1, *SHAPE, seed=1) < 0.5).double())
    if name == "blur":
        kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64) / 9
        return BlurFFT(SHAPE, filter=kernel)
    return Rows() if name == "rows" else Denoising()


PHYSICS = ("denoise", "mask", "blur", "rows")
#: Fields with R(x + c) = R(x).
BLIND = {"tv": {"epsilon": 1e-2}, "tikhonov": {"operator": "gradient"}}


def blind(name: str) -> Regularizer:
    return build(name, **BLIND[name])


def solved(equation: Equation, tolerance: float = 2e-4, **options: int) -> Solution:
    return solve(equation, equation.adjoint_data, tolerance=tolerance, **options)


def error(x: Tensor, truth: Tensor) -> float:
    """Root mean square."""
    return float((x.double() - truth).square().mean().sqrt())


# ---- offsets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-50.0, 3000.0])
@pytest.mark.parametrize("field", BLIND)
@pytest.mark.parametrize("name", PHYSICS)
def test_an_offset_changes_neither_status_nor_answer(name: str, field: str, offset: float) -> None:
    operator = physics(name)
    clean = operator.A(picture())
    y = clean + 0.1 * normal(*clean.shape)
    shifted = y + offset * operator.A(torch.ones_like(picture()))
    plain, moved = (Equation(operator, data, blind(field), 0.1) for data in (y, shifted))
    torch.testing.assert_close(moved.scale, plain.scale, rtol=1e-6, atol=0.0)
    options = {"max_evaluations": 5000}
    a, b = solved(plain, **options), solved(moved, **options)
    assert a.all_converged
    assert b.all_converged
    exact = solved(plain, 1e-8, max_evaluations=20000).x
    if name in ("denoise", "mask"):
        assert error(a.x, exact) < 2e-3 * float(exact.std())
        assert error(b.x - offset, exact) < 2e-3 * float(exact.std())


def test_what_the_dtype_does_not_resolve_is_called_by_its_name() -> None:
    y = (picture() + 0.1 * normal(1, *SHAPE)).float()
    exact = solved(Equation(Denoising(), y.double(), blind("tv"), 0.1), 1e-8).x
    solution = solved(Equation(Denoising(), y + 3000.0, blind("tv"), 0.1))
    assert solution.statuses == [Status.STAGNATED]
    assert "Rounding in float32" in solution.reason(0)
    assert "subtract an offset" in solution.reason(0)
    assert error(solution.x - 3000.0, exact) < 0.02  # solved as far as float32 goes; noise is 0.1
    assert "anderson" not in solution.reason(0)


def test_a_constant_image_is_solved() -> None:
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    operator = BlurFFT(SHAPE, filter=kernel)
    y = operator.A(torch.full((1, *SHAPE), 5.0))
    solution = solved(Equation(operator, y, blind("tv"), 0.1))
    assert solution.all_converged
    torch.testing.assert_close(solution.x, torch.full((1, *SHAPE), 5.0), rtol=1e-4, atol=0.0)


# ---- outliers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [30.0, -9999.0, 1e9])
@pytest.mark.parametrize("name", ["denoise", "blur"])
def test_outliers_leave_the_rest_to_be_solved(name: str, size: float) -> None:
    operator = physics(name)
    clean = operator.A(picture())
    y = clean + 0.1 * normal(*clean.shape)
    plain = Equation(operator, y, blind("tv"), 0.1)
    places = torch.randperm(y.numel(), generator=torch.Generator().manual_seed(1))
    spoilt = y.clone()
    spoilt.view(-1)[places[: y.numel() // 100]] = size
    equation = Equation(operator, spoilt, blind("tv"), 0.1)
    assert 0.5 < float(equation.scale / plain.scale) < 2.0
    solution = solved(equation, max_evaluations=4000)
    assert int(solution.evaluations[0]) > 20
    if name == "denoise" or size == 30.0:
        assert solution.all_converged, solution.summary()
    else:  # deblurring spreads outliers over the image
        assert solution.all_converged or "mask outliers" in solution.reason(0)
    if name == "denoise":  # the rest is as near the picture as without outliers
        rest = torch.ones(y.numel(), dtype=torch.bool)
        rest[places[: y.numel() // 100]] = False
        near = error(solution.x.view(-1)[rest], picture().view(-1)[rest])
        assert near < 1.5 * error(solved(plain).x, picture())


def test_clipping_cuts_the_largest_entries_only() -> None:
    v = torch.arange(1.0, 101.0).reshape(2, 50)
    v[0, 3] = -1e30
    cut = clipped(v)
    # Of 50 entries 2 may go: the third largest modulus is where they end.
    assert cut[0].tolist() == [*range(1, 4), -49.0, *range(5, 50), 49.0]
    assert cut[1].tolist() == [*range(51, 99), 98.0, 98.0]
    assert clipped(torch.zeros(1, 30)).tolist() == torch.zeros(1, 30).tolist()
    alone = F.one_hot(torch.tensor([4]), 30).double()
    assert torch.equal(clipped(alone), alone)  # nothing but one entry is no outlier
    assert clipped(v.to(torch.complex64)).abs().max() == 98.0


def test_the_level_is_that_of_the_unspoilt_data() -> None:
    u = torch.linspace(0.5, 2.0, 200, dtype=torch.float64)[None]
    y = 7.0 * u
    y[0, 5] = 1e8
    level, spread = level_and_spread(y, u)
    assert float(level) == pytest.approx(7.0, rel=1e-12)
    assert float(spread) < 1e-12
    level, _ = level_and_spread(torch.complex(3.0 * u, 5.0 * u), torch.complex(u, 0 * u))
    assert float(level) == pytest.approx(3.0)


# ---- rows and pixels of other sizes --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_that_are_seen_weakly_are_solved(dtype: torch.dtype) -> None:
    mask = torch.ones(1, 1, 16, 16, dtype=dtype)
    mask[..., :8] = 1e-3
    equation = Equation(Inpainting((1, 16, 16), mask=mask), mask, build("tikhonov"), 1e-9)
    solution = solved(equation)
    assert solution.all_converged
    torch.testing.assert_close(solution.x, torch.ones_like(mask), rtol=3e-3, atol=0.0)


def test_unseen_pixels_have_the_mean_diagonal_of_the_regularizer() -> None:
    """Differences: 4 in the middle, 3 and 2 at the boundary; rows have norms of up to 4.5."""
    mask = (normal(1, *SHAPE, seed=4) > 0).double()
    equation = Equation(Inpainting(SHAPE, mask=mask), mask * picture(), blind("tikhonov"), 0.01)
    weights = equation.gauge.weights
    assert weights is not None
    basis = torch.eye(math.prod(SHAPE), dtype=torch.float64).reshape(-1, *SHAPE)
    mean = equation.field.value(basis).flatten(1).diagonal().mean()
    expected = 4.0 * 0.01 * mean / (1.0 + 0.01 * mean)
    assert float(weights[mask == 0].max()) == pytest.approx(float(expected), rel=0.08)
    assert float(weights[mask == 1].min()) == 1.0


class Shifts(torch.nn.Module):
    """``x - S x`` with a skew S, so that ``R = Id - N = S`` has the diagonal 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x - (x.roll(1, 3) - x.roll(-1, 3))


def test_unseen_pixels_of_a_field_that_only_turns_have_a_share_of_its_rows() -> None:
    mask = (normal(1, *SHAPE, seed=4) > 0).double()
    equation = Equation(Inpainting(SHAPE, mask=mask), mask * picture(), Residual(Shifts()), 0.01)
    weights = equation.gauge.weights
    assert weights is not None
    rows = 0.1 * math.sqrt(2.0)
    assert float(weights[mask == 0].max()) == pytest.approx(0.04 * rows, rel=0.1)


def test_weights_are_the_diagonal_of_the_jacobian() -> None:
    values = torch.logspace(-2, 0, math.prod(SHAPE), dtype=torch.float64).reshape(1, *SHAPE)
    y = values * (1.0 + 0.1 * normal(1, *SHAPE))
    equation = Equation(Inpainting(SHAPE, mask=values), y, build("tikhonov"), 0.01)
    weights = equation.gauge.weights
    assert weights is not None
    diagonal = values.square() + 0.01
    expected = (4.0 * diagonal / diagonal.max()).clamp_max(1.0)
    torch.testing.assert_close(weights, expected)
    e = normal(1, *SHAPE, seed=5)
    torch.testing.assert_close(equation.gauge.size(e), norm(e / expected))


@pytest.mark.parametrize("name", ["denoise", "blur"])
def test_where_pixels_are_alike_there_are_no_weights(name: str) -> None:
    equation = Equation(physics(name), normal(2, *SHAPE), build("crr").double(), 0.5)
    assert equation.gauge.weights is None


def test_unequal_pixels_do_not_slow_the_solver_down() -> None:
    values = 10.0 ** (-3.0 * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0)))
    values = values.double()
    y = values * picture() + 0.01 * normal(1, *SHAPE)
    equation = Equation(Inpainting(SHAPE, mask=values), y, build("crr").double(), 1e-3)
    solution = solved(equation)
    assert solution.all_converged
    assert int(solution.evaluations) < 300  # 1,000 were not enough without balance


# ---- counts --------------------------------------------------------------------------------------


def test_counts_are_restored_by_default() -> None:
    z = 0.2 + 0.8 * picture()
    counts = torch.poisson(50.0 * z, generator=torch.Generator().manual_seed(0)) / 50.0
    fidelity = PoissonLikelihood(gain=1 / 50, bkg=1e-3)
    equation = Equation(Denoising(), counts, build("tv", epsilon=1e-2), 16.0, fidelity)
    solution, exact = solved(equation), solved(equation, 1e-8, max_evaluations=5000)
    assert solution.all_converged
    assert int(solution.evaluations) > 10
    assert error(solution.x, exact.x) < 2e-3 * float(exact.x.std())
    assert error(exact.x, z) < 0.7 * error(counts, z)


# ---- small and large numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "dtype"),
    [(1e-23, torch.float32), (1e-200, torch.float64), (1e25, torch.float32)],
)
def test_numbers_whose_squares_are_lost_are_not_called_solved(
    factor: float, dtype: torch.dtype
) -> None:
    y = (factor * torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))).to(dtype)
    if dtype is torch.float64:
        y = y.double() / 1e-200 * 1e-200
        y = factor * torch.rand(1, 1, 8, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    solution = solved(Equation(Denoising(), y, build("tikhonov"), 1.0))
    wrong = float(norm(solution.x / factor - y / (2.0 * factor)) / norm(y / factor))
    if wrong > 1e-3:
        assert solution.statuses == [Status.STAGNATED]
        assert "multiply the data" in solution.reason(0)
    assert bool(torch.isfinite(solution.residual).all()) or not solution.all_converged
    bound = solution.error_bound
    assert bound is not None
    assert float(bound / factor) >= float(norm((solution.x - y / 2) / factor)) * (1 - 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_neither_underflow_nor_overflow(dtype: torch.dtype) -> None:
    top = math.log10(torch.finfo(dtype).max)
    powers = torch.arange(-int(top) + 1, int(top) - 2, 7, dtype=torch.float64)
    v = normal(len(powers), 50, seed=2)
    scales = 10.0**powers
    found = norm((v * scales[:, None]).to(dtype))
    expected = v.norm(dim=1) * scales
    torch.testing.assert_close(
        (found.double() / expected), torch.ones_like(expected), rtol=1e-5, atol=0
    )
    assert norm(torch.zeros(2, 3, dtype=dtype)).tolist() == [0.0, 0.0]
    assert math.isinf(norm(torch.tensor([[1.0, math.inf]], dtype=dtype)))
    assert math.isnan(norm(torch.tensor([[1.0, math.nan]], dtype=dtype)))
    assert norm(torch.zeros(2, 0, dtype=dtype)).tolist() == [0.0, 0.0]


# ---- rounding ------------------------------------------------------------------------------------


def strong(seed: int) -> tuple[Equation, Equation]:
    """A strongly monotone equation in float32 and the same numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    names = ("tikhonov", "tv", "crr", "contractive")
    field = build(names[seed % 4], **({"epsilon": 0.01} if seed % 4 == 1 else {}))
    alpha = 10.0 ** float(torch.empty(()).uniform_(-2, 1, generator=generator))
    y = 0.5 + 0.2 * normal(2, 1, 9, 8, seed=seed).float()
    wide = build(**field.config).double()
    wide.load_state_dict({k: v.double() for k, v in field.state_dict().items()})
    return Equation(Denoising(), y, field, alpha), Equation(Denoising(), y.double(), wide, alpha)


@pytest.mark.parametrize("tolerance", [2e-4, 1e-5, 1e-6])
def test_residuals_and_bounds_hold_in_float64(tolerance: float) -> None:
    converged = 0
    for seed in range(40):
        equation, exact = strong(seed)
        solution = solved(equation, tolerance)
        x = solution.x.double()
        size = norm(exact.residual(x))
        good = solution.converged
        converged += int(good.sum())
        assert bool((size <= tolerance * solution.scale.double())[good].all()), seed
        reference = solve(exact, x, tolerance=1e-11, max_evaluations=20000).x
        assert solution.error_bound is not None
        assert bool((norm(x - reference) <= solution.error_bound.double())[good].all()), seed
    assert converged > (70 if tolerance > 1e-5 else 20)


def test_rounding_is_what_the_jacobian_makes_of_it() -> None:
    """Measured by a difference where there is no higher precision, and anew at every point."""
    equation = Equation(Denoising(), 1.0 + normal(2, *SHAPE), build("tikhonov"), 999.0)
    solver = FixedPoint(step_size=1e-9)
    state = solver.start(equation, equation.y)
    rounding, gauge = Rounding.at(state), equation.gauge
    eps = UNITS * torch.finfo(torch.float64).eps
    torch.testing.assert_close(rounding.slack(gauge), STEEP * eps * gauge.terms)
    rounding.measure(equation, state, gauge, torch.tensor([True, False]))
    bend = 1000.0 * norm(equation.y)  # J = 1 + alpha
    expected = torch.stack([(gauge.terms + bend)[0], STEEP * gauge.terms[1]])
    torch.testing.assert_close(rounding.slack(gauge), eps * expected, rtol=1e-6, atol=0.0)
    assert state.evaluations.tolist() == [2, 1]
    state = solver.step(equation, state)
    rounding.see(state, gauge)
    assert not bool(rounding.measured.any())
    expected = gauge.terms + 1000.0 * norm(state.x)
    torch.testing.assert_close(rounding.slack(gauge), eps * expected, rtol=1e-4, atol=0.0)
    assert rounding.select(torch.tensor([0])).tries.tolist() == [1]


def test_rounding_is_measured_in_float64() -> None:
    """TV with a large alpha: random signs would make fifty times as much of rounding."""
    y = (picture() + 0.1 * normal(1, *SHAPE)).float()
    equation = Equation(Denoising(), y, blind("tv"), 30.0)
    exact = Equation(Denoising(), y.double(), blind("tv"), 30.0)
    state = FixedPoint(step_size=1e-9).start(equation, y)
    rounding, gauge = Rounding.at(state), equation.gauge
    guess = rounding.slack(gauge)
    rounding.measure(equation, state, gauge, torch.tensor([True]))
    slack = rounding.slack(gauge)
    above = norm(exact.residual(y.double())) - gauge.size(state.e).double()
    unit = UNITS * torch.finfo(torch.float32).eps * gauge.terms
    torch.testing.assert_close(slack, above.clamp_min(0.0).float() + unit, rtol=1e-3, atol=0.0)
    assert float(slack) < 0.2 * float(guess)
    found = equation.exact_residual(y)
    assert found is not None
    assert torch.equal(found, exact.residual(y.double()))
    assert exact.exact_residual(y.double()) is None


def test_rounding_of_chosen_samples_alone_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three samples one: the same number as alone, one float64 evaluation of one sample."""
    y = (picture() + 0.1 * normal(3, *SHAPE)).float()
    equation, field = Equation(Denoising(), y, blind("tv"), 30.0), Equilibrium.exact_residual
    state = FixedPoint(step_size=1e-9).start(equation, y)
    seen: list[int] = []

    def counted(system: Equilibrium, x: Tensor) -> Tensor | None:
        seen.append(len(x))
        return field(system, x)

    monkeypatch.setattr(Equilibrium, "exact_residual", counted)
    rounding = Rounding.at(state)
    rounding.measure(equation, state, equation.gauge, torch.tensor([False, True, False]))
    assert seen == [1]
    assert rounding.measured.tolist() == [False, True, False]
    whole = Rounding.at(state)
    whole.measure(equation, state, equation.gauge, torch.tensor([True, True, True]))
    torch.testing.assert_close(rounding.bend[1], whole.bend[1], rtol=1e-3, atol=0.0)


class OnlyFloat32(LinearPhysics):
    """An operator whose function holds a float32 tensor where nobody can reach it."""

    def __init__(self) -> None:
        super().__init__()
        mask = torch.ones(1, *SHAPE)

        def masked(x: Tensor) -> Tensor:
            return (mask * x.float()).float()

        self.masked = masked

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return self.masked(x)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return self.masked(y)


def test_operators_of_float32_alone_have_no_exact_residual() -> None:
    y = normal(1, *SHAPE).float()
    equation = Equation(OnlyFloat32(), y, build("tikhonov"), 1.0)
    assert equation.exact_residual(y) is None
    assert solved(equation, 1e-6).all_converged


def test_near_the_end_of_float32_a_claim_is_true_or_its_failure_is_named() -> None:
    y = (picture() + 0.1 * normal(1, *SHAPE)).float() + 1000.0
    solution = solved(Equation(Denoising(), y, blind("tv"), 0.1), 5e-3)
    exact = Equation(Denoising(), y.double(), blind("tv"), 0.1)
    true = norm(exact.residual(solution.x.double())) / solution.scale
    if solution.all_converged:
        assert float(true) <= 5e-3
    else:
        assert "Rounding in float32" in solution.reason(0)


def test_a_scale_of_rounding_alone_is_none() -> None:
    size, terms = torch.tensor([1e-9, 1.0, 0.0, math.inf]), torch.tensor([1.0, 2.0, 0.0, 3.0])
    assert scale_above_rounding(size, terms, torch.float32).tolist() == [1.0, 1.0, 1.0, 3.0]
    fine = torch.tensor([1e-9], dtype=torch.float64)
    assert scale_above_rounding(fine, torch.ones_like(fine), torch.float64).item() == 1e-9


def test_a_gauge_of_some_samples() -> None:
    whole = Gauge(torch.tensor([1.0, 2.0, 3.0]), torch.ones(3), torch.rand(3, 1, 2, 2) + 0.1)
    part = whole.select(torch.tensor([2, 0]))
    e = torch.rand(2, 1, 2, 2)
    assert part.scale.tolist() == [3.0, 1.0]
    torch.testing.assert_close(part.size(e)[:1], norm(e[:1] / whole.weights[2:]))
    shared = Gauge(whole.scale, whole.terms, whole.weights[:1]).select(torch.tensor([2, 0]))
    torch.testing.assert_close(shared.size(e), norm(e / whole.weights[:1]))
