"""Solve the equation with every kind of R and read what the solution says of itself.

Run: python examples/solve_equations.py
"""

from __future__ import annotations

import torch
from torch import nn

from equipoise import (
    ContractiveResidual,
    Equation,
    FieldsOfExperts,
    Regularizer,
    Residual,
    RidgeRegularizer,
    SmoothedTotalVariation,
    Solution,
    TiedConvPair,
    Tikhonov,
    UntiedConvPair,
    denoise,
    photographs,
)
from equipoise.certify import uniqueness
from equipoise.solve import FixedPoint, solve


def blurring_network() -> nn.Module:
    """A fixed 'network' N: a Gaussian blur, so that R = Id - N removes fine structure."""
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    weights = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16.0
    with torch.no_grad():
        layer.weight.copy_(weights[None, None])
    return layer


def regularizers() -> dict[str, tuple[Regularizer, float]]:
    """Name -> (R, alpha). None of them is trained: this is about solving, not about quality."""
    torch.manual_seed(0)
    return {
        "Tikhonov": (Tikhonov("gradient"), 0.5),
        "total variation": (SmoothedTotalVariation(epsilon=1e-2), 0.1),
        "fields of experts": (FieldsOfExperts(filters=8), 0.001),
        "convex ridge": (RidgeRegularizer(filters=(4, 8)), 0.5),
        "weakly convex ridge": (RidgeRegularizer(filters=(4, 8), weak_convexity=1.0), 0.5),
        "tied pair": (TiedConvPair(filters=8, kernel_size=5), 0.002),
        "untied pair": (UntiedConvPair(filters=8, kernel_size=5), 0.002),
        "contractive residual": (ContractiveResidual(width=8, depth=2), 0.5),
        "any network": (Residual(blurring_network(), channels=1), 2.0),
    }


def main(size: int = 128) -> dict[str, Solution]:
    """Denoise one photograph with each R; then break one solve on purpose.

    Args:
        size: side of the image.
    """
    problem = denoise((1, size, size), sigma=0.1)
    truth = photographs(crop=size).test["camera"][None]
    y = problem.measure(truth, torch.Generator().manual_seed(0))

    solutions = {}
    for name, (regularizer, alpha) in regularizers().items():
        equation = Equation(problem.physics, y, regularizer, alpha)
        solution = solve(equation, problem.start(y), tolerance=1e-4)
        solutions[name] = solution
        print(f"{name}\n  {solution.summary()}\n  {uniqueness(equation).sentence}")
        if solution.error_bound is not None:
            print(f"  distance to the exact solution: at most {float(solution.error_bound):.1e}")

    # An expansive map: a step that is far too long. The status says so, and what helps.
    equation = Equation(problem.physics, y, Tikhonov("gradient"), 0.5)
    broken = solve(equation, problem.start(y), FixedPoint(step_size=10.0))
    solutions["far too long a step"] = broken
    print(f"far too long a step\n  {broken.summary()}")
    return solutions


if __name__ == "__main__":
    main()
