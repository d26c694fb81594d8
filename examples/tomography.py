"""Sparse-view tomography: any deepinv linear physics comes through the same door.

``from_physics`` checks that the physics is linear and that A_adjoint is the adjoint of A, then
the equation, the solvers and the training treat it like the named tasks.

Run: python examples/tomography.py
"""

from __future__ import annotations

import torch
from deepinv.physics import Tomography

from equipoise import (
    EquilibriumReconstructor,
    SmoothedTotalVariation,
    SolveOptions,
    from_physics,
    photographs,
)
from equipoise.learn import psnr


def main(size: int = 64, angles: int = 20) -> tuple[float, float, bool]:
    """Reconstruct a photograph from few projections with total variation.

    Args:
        size: side of the image.
        angles: number of projections.

    Returns:
        PSNR of the starting point (a scaled backprojection), of the solution, and whether the
        solve converged.
    """

    def scanner(image_shape: tuple[int, ...]) -> Tomography:
        return Tomography(
            angles=angles, img_width=image_shape[-1], adjoint_via_backprop=True, normalize=True
        )

    problem = from_physics(scanner, (1, size, size), sigma=0.01)
    print(problem.description)
    truth = photographs(crop=size).test["coffee"][None]
    y = problem.measure(truth, torch.Generator().manual_seed(0))
    start = problem.start(y)

    model = EquilibriumReconstructor(
        SmoothedTotalVariation(epsilon=1e-2),
        alpha=1e-3,
        options=SolveOptions(tolerance=1e-5),
    )
    solution = model.solve(y, problem.physics, start)
    print(solution.summary())
    before, after = float(psnr(start, truth)), float(psnr(solution.x, truth))
    print(f"PSNR {before:.2f} dB -> {after:.2f} dB")
    return before, after, solution.all_converged


if __name__ == "__main__":
    main()
