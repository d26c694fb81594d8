"""Train the tied pair (bilevel) and the untied pair (equilibrium) on denoising.

A short training: enough to see how the two are set up and what comes out, not to compare them.
For the comparison run: equipoise compare --task denoise

Run: python examples/train_pairs.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from equipoise import EquilibriumReconstructor, Solution, TrainSettings, denoise, photographs
from equipoise.certify import symmetry_defect, uniqueness
from equipoise.learn import learn, psnr


@dataclass(frozen=True)
class Outcome:
    """What one trained pair does on a test photograph."""

    solution: Solution
    psnr_input: float
    psnr: float
    symmetry_defect: float
    uniqueness: str


def main(
    steps: int = 60, size: int = 256, filters: int = 12, patches: int = 32
) -> dict[str, Outcome]:
    """Train both pairs for the same number of steps.

    Args:
        steps: optimisation steps.
        size: side of the test photograph.
        filters: number of filters of each pair.
        patches: number of training patches.
    """
    images = photographs(crop=size)
    problem = denoise((1, size, size), sigma=0.1)
    truth = images.test["camera"][None]
    y = problem.measure(truth, torch.Generator().manual_seed(0))

    outcomes = {}
    for name, mode in (("tied-conv", "bilevel"), ("untied-conv", "equilibrium")):
        settings = TrainSettings(
            mode=mode,
            steps=steps,
            patches=patches,
            patch_size=min(48, size // 2),
            jacobian_penalty=0.1,
        )
        config = {"filters": filters, "kernel_size": 5}
        trained = learn(
            name, config, problem, images.train, images.val, settings, validation_crop=size // 2
        )
        model = EquilibriumReconstructor(trained.regularizer)
        solution = model.solve(y, problem.physics, problem.start(y))
        outcome = Outcome(
            solution=solution,
            psnr_input=float(psnr(y, truth)),
            psnr=float(psnr(solution.x, truth)),
            symmetry_defect=symmetry_defect(trained.regularizer, solution.x).value,
            uniqueness=uniqueness(model.equation(y, problem.physics)).sentence,
        )
        outcomes[name] = outcome
        print(f"{name}, {mode}: {trained.stopped}, {trained.seconds:.1f} s")
        print(f"  {solution.summary()}")
        print(f"  PSNR {outcome.psnr_input:.2f} dB -> {outcome.psnr:.2f} dB")
        print(f"  symmetry defect of the Jacobian {outcome.symmetry_defect:.3f}")
        print(f"  {outcome.uniqueness}")
    return outcomes


if __name__ == "__main__":
    main()
