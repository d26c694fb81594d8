"""From denoising to other problems: what ships, and its rivals, each chosen for every problem.

    python -m benchmarks.reproduce.problems choose|test [--only NAME,...]

Of what ships only strength and scale are chosen, by bilevel learning of these two numbers; of total
variation, wavelets and Wiener's filter the strength. All on crops of the images to choose by.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from deepinv.physics import MRI, Downsampling, LinearPhysics
from deepinv.physics.generator import RandomMaskGenerator
from torch import Tensor

from benchmarks.machine import ROOT
from benchmarks.reproduce.data import images
from benchmarks.reproduce.rivals import RIVALS, Chosen, Restored
from equipoise.environment import versions
from equipoise.equation import Equation
from equipoise.learn import TrainSettings, Validation, fill_bank, make_validation, train
from equipoise.learn.bank import kept_between_visits
from equipoise.metrics import psnr, ssim
from equipoise.problems import Problem, centre_crop, from_physics
from equipoise.problems.pose import pose
from equipoise.regularizers import Scaled
from equipoise.settings.task import Task
from equipoise.shipped import shipped
from equipoise.solve import solve
from equipoise.strict_json import write_json

RECORDS = ROOT / "benchmarks" / "reproduce" / "records"
#: Which of what ships.
SHIPPED = ("wcrr-gray", "crr-gray")
#: Side of crops: to choose by, and of those that are scored.
CHOICE, SCORED = 128, 256
#: Seeds of the noise in both, and of masks.
CHOICE_SEED, SCORE_SEED, MASK_SEED = 7_003, 7_004, 7_005
#: How many images are scored where a problem is slow, the first ones in order of names.
FEW = 20
TOLERANCE, EVALUATIONS = 2e-4, 2000
#: The search for strength and scale.
SEARCH = TrainSettings(
    steps=40,
    batch_size=6,
    patch_size=96,
    patches=48,
    learning_rate=0.1,
    first_tolerance=2e-3,
    tolerance=5e-4,
    validate_every=10,
)


@dataclass(frozen=True)
class Posed:
    """One problem.

    Args:
        words: what it is.
        make: poses it for images of a shape.
        channels: 2 for complex images, the second of which is 0.
        slow: whether only a few images are scored.
        rivals: which of them apply.
    """

    words: str
    make: Callable[[tuple[int, ...]], Problem]
    channels: int = 1
    slow: bool = False
    rivals: tuple[str, ...] = ("start", "tv", "wavelets")


def _mri(acceleration: int, shape: tuple[int, ...]) -> LinearPhysics:
    generator = torch.Generator().manual_seed(MASK_SEED)
    masks = RandomMaskGenerator(shape[1:], acceleration, rng=generator)
    return MRI(mask=masks.step(seed=MASK_SEED)["mask"], img_size=shape)


def _halved(shape: tuple[int, ...]) -> LinearPhysics:
    return Downsampling(img_size=shape, filter="bicubic", factor=2, padding="circular")


def _task(**options: Any) -> Callable[[tuple[int, ...]], Problem]:
    return lambda shape: pose(Task(**options), shape, padding="circular", seed=MASK_SEED)


def _own(physics: Callable[[tuple[int, ...]], LinearPhysics], name: str) -> Any:
    return partial(from_physics, physics, sigma=0.01, name=name)


_BLUR = ("start", "tv", "wavelets", "wiener")
PROBLEMS: dict[str, Posed] = {
    **{
        f"inpaint-{lost}": Posed(
            f"inpainting, {lost} % lost, noise 0.02",
            _task(name="inpaint", mask=f"{1 - lost / 100:g}", noise=0.02),
        )
        for lost in (50, 80)
    },
    **{
        f"deblur-{kernel.partition(':')[0]}-{noise}": Posed(
            f"deblurring, {kernel}, noise {noise}",
            _task(name="deblur", kernel=kernel, noise=noise),
            rivals=_BLUR,
        )
        for kernel in ("motion:9", "gaussian:1.6")
        for noise in (0.01, 0.03)
    },
    "half-size": Posed("super-resolution x2, bicubic, noise 0.01", _own(_halved, "half-size")),
    "tomography-60": Posed(
        "tomography, 60 angles, noise 0.01 of the scaled data",
        _task(name="tomography", angles="60", noise=0.01),
        slow=True,
    ),
    **{
        f"mri-{times}": Posed(
            f"MRI, {times}x, random rows, noise 0.01",
            _own(partial(_mri, times), f"mri-{times}"),
            channels=2,
            slow=True,
        )
        for times in (4, 8)
    },
}


def learned(name: str, problem: Problem, crops: list[Tensor], held_out: Validation) -> Chosen:
    """What ships under a name, with the strength and scale that bilevel learning finds.

    Args:
        name: of the weights.
        problem: at any size.
        crops: images to learn the two numbers from.
        held_out: the same images, measured, by which the best step is chosen.
    """
    field, card = shipped(name)
    strength, scale = card.scales(max(problem.sigma, 0.5 / 255))
    field.set_scales(strength * min(card.factors.values(), default=1.0), scale)
    for parameter in field.regularizer.parameters():
        parameter.requires_grad_(False)
    kept = kept_between_visits(SEARCH)
    cut: dict[str, Any] = {"count": SEARCH.patches, "size": SEARCH.patch_size}
    bank = fill_bank(problem, crops, seed=CHOICE_SEED, kept=kept, **cut)
    train(field, bank, held_out, SEARCH)
    return Chosen(partial(_restored, field), {"strength": field.strength, "scale": field.scale})


def _restored(field: Scaled, problem: Problem, y: Tensor) -> Restored:
    equation = Equation(problem.physics, y, field)
    solution = solve(equation, problem.start(y), tolerance=TOLERANCE, max_evaluations=EVALUATIONS)
    return Restored(solution.x, bool(solution.all_converged), int(solution.evaluations.max()))


def measured(posed: Posed, role: Any) -> dict[str, Any]:
    """Choose and score every method on one problem; a record, JSON-able."""
    held_out = [_channels(image, posed) for image in images("choose").values()]
    scored = {name: _channels(image, posed) for name, image in images(role).items()}
    if posed.slow:
        scored = dict(list(scored.items())[:FEW])
    problem = posed.make((posed.channels, CHOICE, CHOICE))
    validation = make_validation(
        problem,
        held_out,
        size=CHOICE,
        seed=CHOICE_SEED,
        tolerance=1e-3,
        max_evaluations=EVALUATIONS,
    )
    crops = [centre_crop(image, CHOICE) for image in held_out]
    rows = {}
    for name in SHIPPED:
        rows[name] = learned(name, problem, crops, validation)
    for name in posed.rivals:
        rows[name] = RIVALS[name](problem, validation)
    return {
        "words": posed.words,
        "data": role,
        "images": list(scored),
        "side": SCORED,
        "methods": {name: _scores(chosen, posed, scored) for name, chosen in rows.items()},
        "versions": versions(),
    }


def _channels(image: Tensor, posed: Posed) -> Tensor:
    return torch.cat([image, *[torch.zeros_like(image)] * (posed.channels - 1)])


def _scores(chosen: Chosen, posed: Posed, scored: Mapping[str, Tensor]) -> dict[str, Any]:
    """Means over the images; of complex images the real part counts."""
    found: dict[str, list[float]] = {key: [] for key in ("psnr", "ssim", "seconds", "evaluations")}
    converged = 0
    generator = torch.Generator().manual_seed(SCORE_SEED)
    for image in scored.values():
        side = min(SCORED, *image.shape[1:])
        truth = centre_crop(image, side - side % 2)[None]
        problem = posed.make(tuple(truth.shape[1:]))
        y = problem.measure(truth, generator)
        began = time.perf_counter()
        with torch.no_grad():
            restored = chosen.restore(problem, y)
        found["seconds"].append(time.perf_counter() - began)
        x, clean = restored.x[:, :1], truth[:, :1]
        found["psnr"].append(float(psnr(x, clean)))
        found["ssim"].append(float(ssim(x, clean)))
        found["evaluations"].append(restored.evaluations)
        converged += restored.converged
    means = {key: fmean(values) for key, values in found.items()}
    return {**means, "converged": converged, "chosen": chosen.numbers}


def main(words: list[str]) -> int:
    """Measure the problems that were asked for, and write a record of each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce.problems")
    parser.add_argument("role", choices=["choose", "test"])
    parser.add_argument("--only", default=",".join(PROBLEMS), help="names, separated by commas")
    given = parser.parse_args(words)
    for name in given.only.split(","):
        if name not in PROBLEMS:
            parser.error(f"there is no problem '{name}': {', '.join(PROBLEMS)}.")
        record = measured(PROBLEMS[name], given.role)
        write_json(record, RECORDS / f"problem-{name}-{given.role}.json")
        for method, row in record["methods"].items():
            print(
                f"{name}, {method}: {row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}, "
                f"{row['seconds']:.2f} s, {row['converged']} of {len(record['images'])} converged",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
