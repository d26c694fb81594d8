"""From trained weights to the file that ships: levels, constants, results and terms on a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks.machine import ROOT
from benchmarks.reproduce.data import FOLDERS, images
from benchmarks.reproduce.recipes import Recipe
from equipoise.environment import versions
from equipoise.equation import Equation
from equipoise.learn import Validation, make_validation
from equipoise.metrics import psnr
from equipoise.problems import denoise
from equipoise.problems.datasplit import centre_crop
from equipoise.problems.pose import pose
from equipoise.regularizers import Scaled, save_regularizer
from equipoise.settings.task import Task
from equipoise.shipped.card import Card, Level, Result, scales_at
from equipoise.shipped.checking import SET, tried_photographs
from equipoise.shipped.models import SUFFIX
from equipoise.shipped.score import denoising_score
from equipoise.solve import solve

SHIPPED = ROOT / "src" / "equipoise" / "shipped" / "weights"
#: Standard deviations of the noise that strengths are chosen for, in 255ths.
NOISES = (5.0, 15.0, 25.0, 50.0)
#: How many photographs they are chosen on, the side of what is cut from them, seed of the noise.
CHOSEN, CROP, SEED = 12, 96, 9_001
#: Share of a held strength that is used, so that denoising is strongly convex: one solution, with a
#: bound on its error.
USED = 0.95
#: Evaluations of the search for the best strength and scale of a level.
SEARCH = 24
#: What strengths of the other tasks are chosen on: for each a few problems.
TASKS: dict[str, tuple[dict[str, Any], ...]] = {
    "inpaint": ({"mask": "0.5", "noise": 0.02}, {"mask": "0.2", "noise": 0.02}),
    "deblur": (
        {"kernel": "gaussian:1.6", "noise": 0.01},
        {"kernel": "gaussian:1.6", "noise": 0.03},
        {"kernel": "motion:9", "noise": 0.01},
    ),
    "tomography": ({"angles": "60", "noise": 0.01},),
}
#: Factors of alpha that are tried.
FACTORS = tuple(2.0 ** (-k / 2) for k in range(-1, 8))
#: On how many of the photographs they are tried.
TRIED = 4
_BERKELEY = (
    "the owners of the Berkeley segmentation data allow non-commercial research and education"
)
TERMS = {"bsd400": _BERKELEY, "bsds300_color": _BERKELEY}
LICENCES = dict.fromkeys(TERMS, "CC BY-NC 4.0 (non-commercial)")
TRAINED_ON = {
    "bsd400": "400 crops of photographs, Berkeley segmentation data (bsd400)",
    "bsds300_color": "photographs of the Berkeley segmentation data (bsds300_color), without those "
    "to choose by, whose number ends in 9",
}
GUARANTEES = {
    "crr": "convex: one solution for every y and every alpha, with a proved bound on its error",
    "wcrr": "0.95-weakly convex: denoising has one solution for every y, alpha up to 1",
}
CITATIONS = {
    "crr": "Goujon, Neumayer, Bohra, Ducotterd, Unser 2023; Hertrich et al. 2025 (architecture)",
    "wcrr": "Goujon, Neumayer, Unser 2024; Hertrich et al. 2025 (architecture)",
}


def chosen_levels(
    field: Scaled, levels: list[Level], recipe: Recipe, say: Callable[[str], None]
) -> list[Level]:
    """Strength and scale of each noise level with the best PSNR on the photographs to choose by.

    Args:
        field: the trained regulariser.
        levels: those that it was trained with.
        recipe: of its training.
        say: told of each level.
    """
    held_out = list(images("choose", colour=recipe.colour).values())[:CHOSEN]

    def allowed(logarithms: np.ndarray) -> tuple[float, float]:
        strength, scale = np.exp(logarithms).tolist()
        most = strength if recipe.strength is None else USED * recipe.strength
        return min(strength, most), scale

    found: list[Level] = []
    for noise in (each / 255 for each in NOISES):
        problem = denoise((3 if recipe.colour else 1, CROP, CROP), sigma=noise)
        validation = make_validation(problem, held_out, size=CROP, seed=SEED, tolerance=1e-3)
        known = found or levels
        begin = np.log(scales_at(known, noise))
        if len(known) == 1:  # the strength that mean squared errors ask for, roughly
            begin[0] += 1.25 * np.log(noise / known[0].noise)

        def loss(logarithms: np.ndarray, validation: Validation = validation) -> float:
            field.set_scales(*allowed(logarithms))
            return -validation.measure(field)[0]

        simplex = begin + np.array([[0.0, 0.0], [0.2, 0.0], [0.0, 0.2]])
        options = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 2e-4, "maxfev": SEARCH}
        best = minimize(loss, begin, method="Nelder-Mead", options=options)
        strength, scale = allowed(best.x)
        found.append(Level(noise=noise, strength=strength, scale=scale))
        say(f"noise {255 * noise:g}: a = {strength:.4g}, s = {scale:.4g}, {-best.fun:.3f} dB")
    return found


def chosen_factors(
    field: Scaled, levels: list[Level], recipe: Recipe, say: Callable[[str], None]
) -> dict[str, float]:
    """The factor of alpha for each task with the best mean PSNR on photographs to choose by.

    Strength and scale are those of the problem's noise; several problems of one task share a
    factor.
    """
    held_out = list(images("choose", colour=recipe.colour).values())[:TRIED]
    truth = torch.stack([centre_crop(image, CROP) for image in held_out])
    found = {}
    for task, problems in TASKS.items():
        gains = torch.zeros(len(FACTORS))
        for options in problems:
            problem = pose(Task(name=task, **options), tuple(truth.shape[1:]))
            field.set_scales(*scales_at(levels, options["noise"]))
            y = problem.measure(truth, torch.Generator().manual_seed(SEED))
            x = problem.start(y)
            for index, factor in enumerate(FACTORS):
                equation = Equation(problem.physics, y, field, factor)
                x = solve(equation, x, tolerance=1e-3, max_evaluations=500).x
                gains[index] += float(psnr(x, truth).mean()) / len(problems)
        best, plain = int(gains.argmax()), float(gains[FACTORS.index(1.0)])
        found[task] = FACTORS[best]
        say(f"{task}: alpha times {FACTORS[best]:.3g}, {gains[best]:.2f} dB; 1: {plain:.2f} dB")
    return found


def results(records: list[Path]) -> list[Result]:
    """What the records of scores say."""
    found = []
    for path in records:
        record = json.loads(path.read_text(encoding="utf-8"))
        entries = {key: record[key] for key in ("images", "input_psnr", "psnr", "converged")}
        noise = record["noise"] / 255
        found.append(Result(data=record["data"], noise=noise, **entries))
    return sorted(found, key=lambda result: (result.data, result.noise))


def ship(
    recipe: Recipe,
    field: Scaled,
    levels: list[Level],
    record: dict[str, Any],
    records: list[Path],
) -> Path:
    """Write the file that ships, with its card; return where."""
    name = recipe.ships_as
    assert name is not None
    data = FOLDERS[recipe.colour]["train"]
    field.set_scales(*scales_at(levels, levels[-1].noise))
    traits = field.traits()
    assert traits.modulus is not None
    assert traits.lipschitz is not None
    card = Card(
        name=name,
        about=recipe.about,
        channels=3 if recipe.colour else 1,
        parameters=sum(p.numel() for p in field.parameters()),
        levels=tuple(levels),
        factors=record.get("factors", {}),
        trained_on=TRAINED_ON[data],
        terms=TERMS[data],
        licence=LICENCES[data],
        command=record["command"],
        seconds=record["training"]["seconds"],
        results=tuple(results(records)),
        guarantee=GUARANTEES[recipe.regularizer],
        modulus=traits.modulus.value,
        lipschitz=traits.lipschitz.value,
        citation=CITATIONS[recipe.regularizer],
    )
    tried = []
    for noise in (15 / 255, 25 / 255):
        field.set_scales(*card.scales(noise))
        score = denoising_score(field, tried_photographs(card), noise)
        tried.append(
            Result(
                data=SET,
                images=len(score.images),
                noise=noise,
                input_psnr=score.input_psnr,
                psnr=score.psnr,
                converged=score.converged,
            )
        )
    card = card.model_copy(update={"results": (*card.results, *tried)})
    learned = recipe.noises[-1] / 255
    field.set_scales(*card.scales(learned))
    whole = {
        "card": card.model_dump(mode="json"),
        "task": {"task": "denoise", "noise": learned},
        "data": record["data"],
        "provenance": {"versions": versions()},
    }
    target = SHIPPED / f"{name}{SUFFIX}"
    target.parent.mkdir(exist_ok=True)
    save_regularizer(target, field, whole)
    return target
