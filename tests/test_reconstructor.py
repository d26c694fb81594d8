"""The reconstructor: what is learned, what is reported, what is refused."""

from __future__ import annotations

import copy
import io
import warnings

import pytest
import torch
from deepinv.models.base import Reconstructor
from deepinv.optim import L2
from deepinv.physics import Blur, Denoising
from torch import Tensor

from equipoise.differentiate import KrylovAdjoint, jacobian_free
from equipoise.errors import ConvergenceError, ConvergenceWarning, InputError
from equipoise.linear import GMRES
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.solve.fixed_point import FixedPoint
from equipoise.status import Status
from small_problems import field, kernel, measure, newton, normal, physics

SHAPE = (2, 1, 5, 6)
TIGHT = SolveOptions(tolerance=1e-11, max_evaluations=5000)


def model(
    name: str = "tied-conv", alpha: float | Tensor = 0.4, **options: object
) -> EquilibriumReconstructor:
    settings = {"options": TIGHT, "on_failure": "error", **options}
    return EquilibriumReconstructor(field(name), alpha, **settings)  # type: ignore[arg-type]


def loss(x: Tensor) -> Tensor:
    return (x - normal(*x.shape, seed=8)).square().sum()


@pytest.mark.parametrize("name", ["tied-conv", "untied-conv"])
@pytest.mark.parametrize("task", ["inpaint", "circular", "valid"])
def test_reconstruction_solves_the_equation(name: str, task: str) -> None:
    reconstructor, operator = model(name), physics(task)
    assert isinstance(reconstructor, Reconstructor)
    y = measure(operator, SHAPE)
    x = reconstructor(y, operator).detach()
    for k in range(2):
        one = reconstructor.equation(y[k : k + 1], operator)
        exact = newton(one, x[k : k + 1])
        torch.testing.assert_close(x[k : k + 1], exact, rtol=0, atol=1e-8)
    torch.testing.assert_close(reconstructor.solve(y, operator).x, x)


def test_alpha_is_learned_like_any_parameter() -> None:
    alpha = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    reconstructor, operator = model(alpha=alpha), physics("inpaint")
    assert dict(reconstructor.named_parameters())["alpha"] is alpha
    assert "alpha" not in dict(model().named_parameters())
    y = measure(operator, SHAPE)
    loss(reconstructor(y, operator)).backward()
    values = []
    for step in (-1e-5, 1e-5):
        moved = model(alpha=0.4 + step)
        values.append(float(loss(moved.solve(y, operator).x)))
    assert float(alpha.grad) == pytest.approx((values[1] - values[0]) / 2e-5, rel=1e-5)
    optimizer = torch.optim.SGD(reconstructor.parameters(), lr=1e-3)
    before = float(loss(reconstructor.solve(y, operator).x))
    optimizer.step()
    assert float(loss(reconstructor.solve(y, operator).x)) < before


def test_one_alpha_per_sample() -> None:
    operator = physics("circular")
    y = measure(operator, SHAPE)
    alpha = torch.nn.Parameter(torch.tensor([0.2, 0.9], dtype=torch.float64))
    x = model(alpha=alpha)(y, operator)
    for k in range(2):
        alone = model(alpha=float(alpha.detach()[k])).solve(y[k : k + 1], operator).x
        torch.testing.assert_close(x[k : k + 1].detach(), alone, rtol=0, atol=1e-8)
    loss(x).backward()
    assert (alpha.grad.abs() > 0).all()


@pytest.mark.parametrize("learned", [False, True])
def test_state_round_trip(learned: bool) -> None:
    start = torch.tensor(0.7, dtype=torch.float64)
    alpha = torch.nn.Parameter(start) if learned else 0.7
    first, operator = model(alpha=alpha), physics("inpaint")
    y = measure(operator, SHAPE)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    other = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64)) if learned else 0.1
    second = model(alpha=other)
    with torch.no_grad():
        for parameter in second.regularizer.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(second.solve(y, operator).x, first.solve(y, operator).x)
    second.load_state_dict(torch.load(file))
    assert torch.equal(second.solve(y, operator).x, first.solve(y, operator).x)
    assert second.alpha.item() == 0.7


def test_a_used_reconstructor_can_be_copied() -> None:
    reconstructor, operator = model(), physics("inpaint")
    y = measure(operator, SHAPE)
    loss(reconstructor(y, operator)).backward()
    copied = copy.deepcopy(reconstructor)
    assert torch.equal(copied.solve(y, operator).x, reconstructor.solve(y, operator).x)


def test_reports_of_the_latest_solves() -> None:
    reconstructor, operator = model(), physics("inpaint")
    assert reconstructor.last_solution is None
    assert reconstructor.last_backward is None
    y = measure(operator, SHAPE)
    x = reconstructor(y, operator)
    solution = reconstructor.last_solution
    assert torch.equal(solution.x, x)
    assert solution.tolerance == 1e-11
    assert (solution.evaluations > 1).all()
    assert reconstructor.last_backward.last is None  # no backward pass yet
    loss(x).backward()
    backward = reconstructor.last_backward.last
    assert backward.all_converged
    assert (backward.evaluations > 0).all()
    again = reconstructor(y[:1], operator)
    assert reconstructor.last_solution is not solution
    assert len(reconstructor.last_solution.status) == 1
    assert reconstructor.last_backward.last is None
    assert len(again) == 1


def test_options_reach_the_solver() -> None:
    operator = physics("circular")
    y = measure(operator, SHAPE)
    loose = model(options=SolveOptions(solver=FixedPoint(), tolerance=1e-2))
    loose(y, operator)
    assert loose.last_solution.solver == "fixed_point"
    assert (loose.last_solution.relative_residual <= 1e-2).all()
    assert (loose.last_solution.relative_residual > 1e-6).all()
    weighted, plain = model(alpha=1.6, data_fidelity=L2(0.5)), model(alpha=0.4)
    torch.testing.assert_close(
        weighted.solve(y, operator).x, plain.solve(y, operator).x, rtol=0, atol=1e-8
    )


def test_start_at_the_solution_costs_one_evaluation() -> None:
    reconstructor, operator = model(), physics("circular")
    y = measure(operator, SHAPE)
    x = reconstructor.solve(y, operator).x
    again = reconstructor.solve(y, operator, x0=x)
    assert again.evaluations.tolist() == [1, 1]
    torch.testing.assert_close(reconstructor(y, operator, x0=x.requires_grad_()).detach(), x)


# ---- graphs --------------------------------------------------------------------------------------


def test_no_graph_without_gradients() -> None:
    reconstructor, operator = model(), physics("circular")
    y = measure(operator, SHAPE)
    with torch.no_grad():
        assert not reconstructor(y, operator).requires_grad
    reconstructor.requires_grad_(False)
    assert not reconstructor(y, operator).requires_grad
    assert reconstructor(y.requires_grad_(), operator).requires_grad


def test_a_learnable_blur_kernel_gets_its_gradient() -> None:
    reconstructor = model(alpha=0.3)
    weights = kernel().requires_grad_()
    y = measure(physics("circular"), SHAPE)

    def reconstruct() -> Tensor:
        return reconstructor(y, Blur(filter=weights, padding="circular"))

    (gradient,) = torch.autograd.grad(loss(reconstruct()), weights)
    direction = normal(*weights.shape, seed=5)
    values = []
    for step in (-1e-5, 1e-5):
        with torch.no_grad():
            weights.add_(step * direction)
            values.append(float(loss(reconstruct())))
            weights.sub_(step * direction)
    slope = (values[1] - values[0]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_gray_regularisers_restore_every_channel_of_colour_images() -> None:
    reconstructor, operator = model("untied-conv"), physics("circular")
    y = measure(operator, (2, 3, 5, 6))
    x = reconstructor(y, operator)
    for channel in range(3):
        part = slice(channel, channel + 1)
        gray = reconstructor.solve(y[:, part], operator).x
        torch.testing.assert_close(x[:, part].detach(), gray, rtol=0, atol=1e-8)
    loss(x).backward()
    assert all(p.grad.norm() > 0 for p in reconstructor.regularizer.parameters())


def test_single_precision() -> None:
    reconstructor = EquilibriumReconstructor(
        field("tied-conv").float(), 0.4, options=SolveOptions(tolerance=1e-4), on_failure="error"
    )
    y = measure(physics("denoise"), SHAPE)
    x = reconstructor(y.float(), Denoising())
    assert x.dtype == torch.float32
    exact = model().solve(y, physics("denoise")).x
    torch.testing.assert_close(x.detach().double(), exact, rtol=0, atol=1e-3)
    assert model().float().alpha.dtype == torch.float32


# ---- failures ------------------------------------------------------------------------------------

SHORT = SolveOptions(tolerance=1e-10, max_evaluations=3)
HOPELESS = KrylovAdjoint(GMRES(tolerance=1e-12, max_products=1))


def test_forward_failures_are_reported_as_asked() -> None:
    operator = physics("inpaint")
    y = measure(operator, SHAPE)
    with pytest.raises(ConvergenceError, match=r"ITERATION_LIMIT.*more evaluations"):
        model(options=SHORT)(y, operator)
    with pytest.warns(ConvergenceWarning, match="lbfgs.*: 0 of 2 converged"):
        model(options=SHORT, on_failure="warn")(y, operator)
    silent = model(options=SHORT, on_failure="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent(y, operator)
    assert silent.last_solution.statuses == [Status.ITERATION_LIMIT] * 2
    # solve() hands the status over and leaves the judgement to the caller
    assert not model(options=SHORT).solve(y, operator).all_converged


def test_backward_failures_are_reported_as_asked() -> None:
    operator = physics("inpaint")
    y = measure(operator, SHAPE)
    with pytest.raises(ConvergenceError, match="gmres: 0 of 2 converged"):
        loss(model(adjoint=HOPELESS)(y, operator)).backward()
    with pytest.warns(ConvergenceWarning, match="ITERATION_LIMIT"):
        loss(model(adjoint=HOPELESS, on_failure="warn")(y, operator)).backward()
    silent = model(adjoint=HOPELESS, on_failure="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(silent(y, operator)).backward()
    assert silent.last_backward.last.statuses == [Status.ITERATION_LIMIT] * 2


def test_the_adjoint_is_chosen_by_the_user() -> None:
    operator = physics("inpaint")
    y = measure(operator, SHAPE)
    exact, free = model("untied-conv"), model("untied-conv", adjoint=jacobian_free())
    for reconstructor in (exact, free):
        loss(reconstructor(y, operator)).backward()
    assert exact.last_backward.last.solver == "gmres"
    assert free.last_backward.last.solver != "gmres"
    mine, other = (next(m.regularizer.parameters()).grad for m in (exact, free))
    assert not torch.allclose(mine, other, rtol=1e-3)
    assert (mine * other).sum() > 0


@pytest.mark.parametrize(
    ("x0", "words"),
    [
        (torch.zeros(1, 1, 5, 6).double(), r"x0 has shape \(1, 1, 5, 6\), but the images \(2"),
        (torch.zeros(2, 1, 6, 5).double(), "x0 has shape"),
        (torch.zeros(2, 1, 5, 6), "x0 is torch.float32.*torch.float64"),
        (torch.zeros(2, 1, 5, 6, device="meta").double(), "x0 is .* on meta.*cpu"),
        (torch.full((2, 1, 5, 6), torch.nan).double(), "x0 has values that are NaN"),
    ],
)
def test_starting_points_that_do_not_fit_are_refused(x0: Tensor, words: str) -> None:
    operator = physics("circular")
    with pytest.raises(InputError, match=words):
        model()(measure(operator, SHAPE), operator, x0=x0)
