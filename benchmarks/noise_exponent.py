"""Which power of the noise alpha goes with, where R was learned for another noise.

    python -m benchmarks.noise_exponent WEIGHTS.safetensors FOLDER

Denoises the central 128 x 128 pixels of every image of the folder with several levels of noise and
``alpha = (noise / learned)^p``, and prints the mean PSNR for each exponent p. The noise that the
weights were learned for is read from their record.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from equipoise.images import is_image_file, read_image, to_gray
from equipoise.metrics import mean_psnr
from equipoise.problems import centre_crop, denoise
from equipoise.problems.records import recorded_task
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import load_regularizer

LEVELS = tuple(level / 255 for level in (5, 10, 15, 25, 50))
EXPONENTS = (0.0, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
SIDE = 128


def main() -> None:
    """Print one row for each level of noise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise_exponent")
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    regularizer, record = load_regularizer(given.weights)
    task = recorded_task(record)
    if task is None or not task.noise:
        raise SystemExit("The weights do not say which noise they were learned for.")
    learned = task.noise / task.span
    files = sorted(file for file in given.folder.iterdir() if is_image_file(file))
    truth = torch.stack([centre_crop(to_gray(read_image(f).pixels), SIDE) for f in files])
    physics = denoise((1, SIDE, SIDE)).physics
    options = SolveOptions(tolerance=1e-3, max_evaluations=1000)
    print("noise    input  " + "".join(f"p = {p:<6g}" for p in EXPONENTS))
    for level in LEVELS:
        generator = torch.Generator().manual_seed(0)
        y = truth + level * torch.randn(truth.shape, generator=generator)
        found = []
        for exponent in EXPONENTS:
            alpha = (level / learned) ** exponent
            solution = EquilibriumReconstructor(regularizer, alpha, options=options).solve(
                y, physics
            )
            solution.check("error")
            found.append(mean_psnr(solution.x, truth))
        row = "".join(f"{value:<10.2f}" for value in found)
        print(f"{level:.4f}   {mean_psnr(y, truth):.2f}  {row}", flush=True)


if __name__ == "__main__":
    main()
