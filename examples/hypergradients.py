"""Differentiate a reconstruction with respect to alpha and to the blur kernel.

The derivative comes from the implicit function theorem: one linear solve, no unrolling. Both
gradients are compared with central finite differences.

Run: python examples/hypergradients.py
"""

from __future__ import annotations

import torch
from deepinv.physics import Blur
from torch import Tensor

from equipoise import EquilibriumReconstructor, SolveOptions, TiedConvPair, photographs
from equipoise.differentiate import adjoint_by_name
from equipoise.problems import gaussian_kernel

#: Steps of the finite differences, along a unit direction.
STEPS = {"alpha": 3e-6, "kernel": 1e-5}


def main(size: int = 48) -> dict[str, tuple[float, float]]:
    """Compare hypergradients with finite differences.

    Args:
        size: side of the image.

    Returns:
        Name -> (implicit, finite difference) of the loss's derivative along a unit direction.
    """
    generator = torch.Generator().manual_seed(0)
    truth = photographs(crop=size, dtype=torch.float64).test["camera"][None]
    kernel = gaussian_kernel(0.7).values[None, None]
    y = Blur(filter=kernel, padding="circular").A(truth)
    y = y + 0.02 * torch.randn(y.shape, generator=generator, dtype=torch.float64)

    regularizer = TiedConvPair(filters=8, kernel_size=5).double().requires_grad_(False)
    exact = SolveOptions(tolerance=1e-11, max_evaluations=5000)
    adjoint = adjoint_by_name("cg", tolerance=1e-11, max_products=5000)

    def misfit(alpha: Tensor, kernel: Tensor) -> Tensor:
        """Upper-level loss: how far the reconstruction is from the truth."""
        model = EquilibriumReconstructor(regularizer, alpha, options=exact, adjoint=adjoint)
        x: Tensor = model(y, Blur(filter=kernel, padding="circular"))
        value: Tensor = 0.5 * (x - truth).square().sum()
        return value

    points = {"alpha": torch.tensor(1e-2, dtype=torch.float64), "kernel": kernel}
    leaves = [point.clone().requires_grad_() for point in points.values()]
    gradients = dict(zip(points, torch.autograd.grad(misfit(*leaves), leaves), strict=True))

    compared = {}
    for name, gradient in gradients.items():
        direction = gradient / gradient.norm()
        step = STEPS[name] * direction
        with torch.no_grad():
            up, down = (
                misfit(**{**points, name: points[name] + sign * step}) for sign in (1.0, -1.0)
            )
        implicit = float((gradient * direction).sum())
        difference = float(up - down) / (2.0 * STEPS[name])
        compared[name] = implicit, difference
        print(f"{name}: implicit {implicit:.8f}, finite difference {difference:.8f}")
    return compared


if __name__ == "__main__":
    main()
