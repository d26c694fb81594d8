"""equipoise inside deepinv, and deepinv inside equipoise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import deepinv
import pytest
import torch
from deepinv.models import DnCNN
from deepinv.optim import FISTA, GD, L2, PGD, RED, BaseOptim, PnP, optim_builder
from torch import Tensor
from torch.utils.data import DataLoader

from equipoise.equation import Equation
from equipoise.errors import ConvergenceWarning
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Regularizer, Residual, TiedConvPair, Tikhonov, from_deepinv
from equipoise.solve import solve
from equipoise.solve.anderson import Anderson
from equipoise.solve.fixed_point import FixedPoint
from equipoise.solve.resolvent import Resolvent
from equipoise.status import Status
from small_problems import field, measure, normal, physics

ALPHA = 0.3


def equilibrium(regularizer: Regularizer, task: str, batch: int = 2) -> tuple[Equation, Tensor]:
    operator = physics(task)
    equation = Equation(operator, measure(operator, (batch, 1, 5, 6)), regularizer, ALPHA)
    solution = solve(equation, equation.adjoint_data, tolerance=1e-11, max_evaluations=5000)
    assert solution.all_converged, solution.summary()
    return equation, solution.x


# ---- our regularisers inside deepinv's algorithms ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("tied-conv", "valid"),
        ("tied-conv", "circular"),
        ("crr", "circular"),
        ("crr", "denoise"),
        ("fields-of-experts", "denoise"),
    ],
)
def test_gradient_descent_of_deepinv_reaches_our_solution(name: str, task: str) -> None:
    regularizer = field(name)
    equation, x = equilibrium(regularizer, task)
    step = 1.0 / equation.lipschitz.value
    model = GD(
        data_fidelity=L2(),
        prior=regularizer,
        lambda_reg=ALPHA,
        stepsize=step,
        max_iter=1500,
        early_stop=True,
        thres_conv=1e-12,
    )
    found = model(equation.y, equation.physics)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-6)
    assert equation.residual(found).norm() < 1e-6 * equation.scale.norm()


@pytest.mark.parametrize("algorithm", [PGD, FISTA])
@pytest.mark.parametrize("task", ["inpaint", "circular"])
@pytest.mark.parametrize("name", ["tied-conv", "fields-of-experts"])
def test_proximal_algorithms_of_deepinv_call_our_prox(
    name: str, task: str, algorithm: type[BaseOptim]
) -> None:
    regularizer = field(name)
    equation, x = equilibrium(regularizer, task)
    model = algorithm(
        data_fidelity=L2(),
        prior=regularizer,
        lambda_reg=ALPHA,
        stepsize=0.9,
        max_iter=150,
        early_stop=True,
        thres_conv=1e-7,
    )
    found = model(equation.y, equation.physics)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["untied-conv", "contractive"])
def test_fields_that_are_no_gradients_work_in_proximal_gradient_descent(name: str) -> None:
    regularizer = field(name)
    equation, x = equilibrium(regularizer, "circular")
    model = optim_builder(
        iteration="PGD", data_fidelity=L2(), prior=regularizer,
        params_algo={"lambda": ALPHA, "stepsize": 0.9, "g_param": 0.05},
        max_iter=400, early_stop=True, thres_conv=1e-7,
    )  # fmt: skip
    torch.testing.assert_close(model(equation.y, equation.physics), x, rtol=0, atol=1e-4)


def test_cost_of_deepinv_is_our_energy() -> None:
    regularizer = field("tied-conv")
    equation, x = equilibrium(regularizer, "inpaint", batch=1)  # deepinv adds up priors of a batch
    model = optim_builder(
        iteration="GD", data_fidelity=L2(), prior=regularizer,
        params_algo={"lambda": ALPHA, "stepsize": 0.1}, max_iter=3,
    )  # fmt: skip
    _, metrics = model(equation.y, equation.physics, init=x, compute_metrics=True)
    energy = equation.potential_and_residual(x)[0]
    assert metrics["cost"][0] == pytest.approx([float(energy)] * len(metrics["cost"][0]), rel=1e-9)


# ---- our reconstructor inside deepinv's training and testing -------------------------------------


def pictures(count: int, seed: int) -> Tensor:
    """Smooth random images in [0, 1], float32."""
    rough = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, size=(12, 12), mode="bilinear")


def loader(operator: deepinv.physics.LinearPhysics, count: int, seed: int) -> DataLoader:
    x = pictures(count, seed)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    y = operator.A(x) + 0.1 * noise
    return DataLoader([{"x": a, "y": b} for a, b in zip(x, y, strict=True)], batch_size=4)


def reconstructor(alpha: float | Tensor = 0.02) -> EquilibriumReconstructor:
    torch.manual_seed(0)
    regularizer = TiedConvPair(filters=4, kernel_size=3, scale=2.0)
    options = SolveOptions(tolerance=1e-4)
    return EquilibriumReconstructor(regularizer, alpha, options=options, on_failure="error")


def mean_error(model: EquilibriumReconstructor, data: DataLoader, operator: object) -> float:
    with torch.no_grad():
        errors = [(model(batch["y"], operator) - batch["x"]).square().mean() for batch in data]
    return float(torch.stack(errors).mean())


def test_trainer_of_deepinv_learns(tmp_path: Path) -> None:
    operator = deepinv.physics.Denoising()
    train, held_out = loader(operator, 16, seed=1), loader(operator, 4, seed=9)
    model = reconstructor(torch.nn.Parameter(torch.tensor(0.02)))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert "alpha" in before
    start = mean_error(model, train, operator), mean_error(model, held_out, operator)
    trainer = deepinv.Trainer(
        model,
        physics=operator,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.02),
        train_dataloader=train,
        eval_dataloader=held_out,
        epochs=2,
        losses=deepinv.loss.SupLoss(),
        device="cpu",
        save_path=str(tmp_path),
        non_blocking_transfers=False,
        verbose=False,
        show_progress_bar=False,
    )
    trained = trainer.train()
    assert trained is model
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert mean_error(model, train, operator) < 0.95 * start[0]
    assert mean_error(model, held_out, operator) < 0.95 * start[1]


def test_test_of_deepinv_gives_our_psnr() -> None:
    operator = deepinv.physics.Inpainting((1, 12, 12), mask=0.7)
    data, model = loader(operator, 8, seed=3), reconstructor()
    quiet = {"verbose": False, "show_progress_bar": False, "non_blocking_transfers": False}
    found = deepinv.test(model, data, operator, device="cpu", **quiet)
    psnr = [
        -10
        * torch.log10(
            (model.solve(batch["y"], operator).x - batch["x"]).square().flatten(1).mean(1)
        )
        for batch in data
    ]
    assert found["PSNR"] == pytest.approx(float(torch.cat(psnr).mean()), abs=1e-3)
    assert found["PSNR"] > found["PSNR no learning"]


def test_arguments_of_deepinvs_trainer_are_taken() -> None:
    operator, model = deepinv.physics.Denoising(), reconstructor()
    y = pictures(2, seed=5)
    with torch.no_grad():
        plain = model(y, operator)
        torch.testing.assert_close(model(y, operator, x_gt=y, update_parameters=True), plain)


# ---- deepinv's denoisers inside our equation -----------------------------------------------------


def network(gain: float) -> DnCNN:
    """DnCNN with random weights, ``x + CNN(x)``, its weights multiplied by the gain."""
    torch.manual_seed(0)
    model = DnCNN(1, 1, depth=3, nf=6, pretrained=None).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
    return model


class Damped(torch.nn.Module):
    """``(x + CNN(x)) / 2``, a contraction for a CNN of Lipschitz constant below 1."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network(0.5)

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        return 0.5 * self.inner(x, sigma)


@pytest.mark.parametrize("wrap", [RED, PnP])
@pytest.mark.parametrize("task", ["denoise", "inpaint", "circular"])
def test_denoisers_inside_our_equation(wrap: Callable[..., deepinv.optim.Prior], task: str) -> None:
    denoiser = network(0.5) if task == "denoise" else Damped()
    operator = physics(task)
    y = measure(operator, (2, 1, 5, 6))
    regularizer = from_deepinv(wrap(denoiser), sigma=0.1)
    equation = Equation(operator, y, regularizer, ALPHA)
    for solver in (Anderson(), Resolvent(), FixedPoint()):
        solution = solve(equation, equation.adjoint_data, solver, tolerance=1e-9)
        assert solution.all_converged, solution.summary()
        x = solution.x
        data = operator.A_adjoint(operator.A(x) - y)
        residual = data + ALPHA * (x - denoiser(x, 0.1)).detach()
        assert (residual.flatten(1).norm(dim=1) <= 1e-9 * equation.scale).all()
        assert solution.error_bound is None  # nothing is known of a network


def test_a_network_that_may_not_have_an_equilibrium_gets_a_status() -> None:
    operator = physics("inpaint")
    regularizer = from_deepinv(RED(network(1.0)), sigma=0.1)
    equation = Equation(operator, measure(operator, (2, 1, 5, 6)), regularizer, ALPHA)
    for solver in (Anderson(), Resolvent(), FixedPoint()):
        solution = solve(equation, equation.adjoint_data, solver, tolerance=1e-9)
        for status, residual in zip(solution.statuses, solution.relative_residual, strict=True):
            assert status is not Status.RUNNING
            assert (status is Status.CONVERGED) is bool(residual <= 1e-9)
            assert status.advice
        assert torch.isfinite(solution.x).all()


def test_an_expansive_network_is_reported() -> None:
    denoiser = network(6.0)  # Lipschitz constant far above 1
    operator = physics("inpaint")
    regularizer = from_deepinv(PnP(denoiser), sigma=0.1)
    equation = Equation(operator, measure(operator, (2, 1, 5, 6)), regularizer, 10.0)
    solution = solve(equation, equation.adjoint_data, Resolvent(), tolerance=1e-9)
    assert set(solution.statuses) == {Status.DIVERGED}
    assert "expansive" in solution.summary()
    assert torch.isfinite(solution.x).all()
    model = EquilibriumReconstructor(
        regularizer, 10.0, options=SolveOptions(solver=Resolvent()), on_failure="warn"
    )
    with pytest.warns(ConvergenceWarning, match="DIVERGED"), torch.no_grad():
        model(equation.y, operator)


def test_networks_are_learned_through_the_equilibrium() -> None:
    denoiser, operator = Damped(), physics("inpaint")
    regularizer = from_deepinv(RED(denoiser), sigma=0.1)
    y, target = measure(operator, (2, 1, 5, 6)), normal(2, 1, 5, 6, seed=8)
    model = EquilibriumReconstructor(
        regularizer, ALPHA, options=SolveOptions(tolerance=1e-12), on_failure="error"
    )
    loss = (model(y, operator) - target).square().sum()
    weight = denoiser.inner.in_conv.weight
    (gradient,) = torch.autograd.grad(loss, weight)
    direction = normal(*weight.shape, seed=9)
    values = []
    for step in (-1e-5, 1e-5):
        with torch.no_grad():
            weight.add_(step * direction)
            values.append(float((model(y, operator) - target).square().sum()))
            weight.sub_(step * direction)
    slope = (values[1] - values[0]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_residual_of_any_module_and_explicit_priors_in_the_reconstructor() -> None:
    operator = physics("circular")
    y = measure(operator, (2, 1, 5, 6))
    options = SolveOptions(tolerance=1e-10)
    smooth = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    torch.nn.init.constant_(smooth.weight, 0.08)
    network_field = EquilibriumReconstructor(Residual(smooth), ALPHA, options=options)
    explicit = EquilibriumReconstructor(
        from_deepinv(deepinv.optim.Tikhonov()), ALPHA, options=options
    )
    own = EquilibriumReconstructor(Tikhonov(), ALPHA, options=options)
    assert network_field.solve(y, operator).all_converged
    torch.testing.assert_close(explicit.solve(y, operator).x, own.solve(y, operator).x)
