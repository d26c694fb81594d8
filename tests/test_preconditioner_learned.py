"""What the preconditioner saves with learned regularisers on photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deepinv.physics import Denoising, Inpainting
from skimage.io import imread
from torch import Tensor

import equipoise.equilibrium
from equipoise import Equation
from equipoise.convolutions.circulant import LocalInverse, LocalKernels, local_inverse
from equipoise.differentiate import BackwardRecord, adjoint_by_name, attach_gradient
from equipoise.regularizers import RidgeRegularizer
from equipoise.solve import LBFGS, solve
from equipoise.vectors import norm
from shared_data import shared


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def published(name: str, dtype: torch.dtype) -> RidgeRegularizer:
    arrays = np.load(shared("ridge_weights") / f"{name}.npz")
    tensors = {key: torch.as_tensor(value, dtype=dtype) for key, value in arrays.items()}
    return RidgeRegularizer.from_arrays(
        [tensors[f"filter{i}"] for i in (1, 2, 3)],
        tensors["weight"],
        tensors["slope"],
        float(arrays["weak_convexity"]),
    )


def photograph(size: int, index: int = 0) -> Tensor:
    """A crop from the middle."""
    picture = torch.from_numpy(imread(sorted(shared("set12").glob("*.png"))[index])) / 255.0
    top, left = ((length - size) // 2 for length in picture.shape)
    return picture[None, None, top : top + size, left : left + size]


def test_learned_regularizers_take_two_thirds_of_the_evaluations() -> None:
    y = (photograph(96) + 0.1 * normal(1, 1, 96, 96)).float()
    equation = Equation(Denoising(), y, published("crr", torch.float32))
    good = solve(equation, y, LBFGS(), tolerance=1e-3)
    plain = solve(equation, y, LBFGS(preconditioned=False), tolerance=1e-3)
    assert good.all_converged
    assert int(good.evaluations) <= 0.67 * int(plain.evaluations)


@pytest.mark.parametrize(("alpha", "balanced", "plain"), [(0.1, 49, 68), (0.01, 50, 136)])
def test_inpainting_takes_fewer_evaluations_with_balanced_pixels(
    alpha: float, balanced: int, plain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of docs/solvers.md: medians, since rounding alone makes 48 to 62 out of 49."""
    mask = (normal(1, 1, 96, 96, seed=1) > 0).float()
    y = mask * (photograph(96) + 0.05 * normal(1, 1, 96, 96)).float()
    physics = Inpainting((1, 96, 96), mask=mask)

    def evaluations() -> float:
        """The median over data that differ in their last digits."""
        found = []
        for last_digits in range(5):
            data = y * (1 + 1e-7 * last_digits)
            equation = Equation(physics, data, published("crr", torch.float32), alpha)
            solution = solve(equation, data)
            solution.check()
            found.append(int(solution.evaluations))
        return float(np.median(found))

    def unbalanced(
        local: LocalKernels, multiplier: Tensor, floor: float | Tensor, rows: Tensor | None
    ) -> LocalInverse:
        return local_inverse(local, multiplier, floor)

    assert evaluations() == pytest.approx(balanced, rel=0.06)
    monkeypatch.setattr(equipoise.equilibrium, "local_inverse", unbalanced)
    assert evaluations() == pytest.approx(plain, rel=0.06)


@pytest.mark.parametrize("name", ["crr", "wcrr"])
def test_ten_products_give_the_direction_of_the_hypergradient(name: str) -> None:
    """Cosines on photographs: all above 0.99, most above 0.999; three products do not suffice."""
    regularizer = published(name, torch.float32)
    weights = list(regularizer.parameters())
    cosines: dict[str, list[float]] = {"cg:10": [], "cg:3": []}
    for index in (0, 4, 7):
        target = photograph(64, index).float()
        y = target + 0.1 * normal(1, 1, 64, 64, seed=index).float()
        equation = Equation(Denoising(), y, regularizer)
        x = solve(equation, y, tolerance=1e-5).x

        def gradient(adjoint: str, equation: Equation, x: Tensor, target: Tensor) -> Tensor:
            record, method = BackwardRecord(), adjoint_by_name(adjoint, tolerance=1e-5)
            attached = attach_gradient(equation, x, method, on_failure="error", record=record)
            loss = 0.5 * (attached - target).square().sum()
            assert record.last is None
            parts = torch.autograd.grad(loss, weights)
            limit = int(adjoint.partition(":")[2] or 300)
            assert record.last is not None
            assert int(record.last.evaluations) <= limit + 1
            return torch.cat([part.flatten() for part in parts]).double()

        exact = gradient("cg", equation, x, target)
        for fast, found in cosines.items():
            cosine = torch.cosine_similarity(exact, gradient(fast, equation, x, target), dim=0)
            found.append(float(cosine))
    assert min(cosines["cg:10"]) > 0.99
    assert sorted(cosines["cg:10"])[1] > 0.999
    assert min(cosines["cg:3"]) < 0.99


def test_float32_reaches_a_relative_residual_of_ten_millionths() -> None:
    """Potentials differ by rounding alone in the last steps, so that slopes must accept them."""
    y = (photograph(256) + 0.1 * normal(1, 1, 256, 256)).float()
    equation = Equation(Denoising(), y, published("crr", torch.float32))
    solution = solve(equation, y, tolerance=1e-5, max_evaluations=120)
    assert solution.all_converged, solution.summary()
    true = norm(equation.residual(solution.x)) / equation.scale
    assert float(true) <= 1e-5
