"""Train the regularisers that ship, and score them.

    python -m benchmarks.reproduce list
    python -m benchmarks.reproduce train NAME
    python -m benchmarks.reproduce levels NAME
    python -m benchmarks.reproduce score NAME --on choose|test [--noise 25]
    python -m benchmarks.reproduce ship NAME
    python -m benchmarks.reproduce table

A training goes on from its state in ``results/reproduce`` if it was stopped, and leaves its weights
in ``benchmarks/reproduce/weights`` with a record of how they came about. Then strength and scale
are chosen for each noise level, and alpha for each task; scores are written to
``benchmarks/reproduce/records``, and the file that ships is written with its card.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import ROOT
from benchmarks.reproduce.data import FOLDERS, images
from benchmarks.reproduce.levels import Levels, train_levels
from benchmarks.reproduce.matching import match
from benchmarks.reproduce.recipes import RECIPES, Recipe
from benchmarks.reproduce.ship import chosen_factors, chosen_levels, ship
from benchmarks.reproduce.table import fill
from equipoise.environment import versions
from equipoise.errors import EquipoiseError
from equipoise.learn import PatchBank, Validation, fill_bank, make_validation
from equipoise.learn.bank import kept_between_visits
from equipoise.learn.calibrate import calibrate
from equipoise.problems import denoise
from equipoise.regularizers import Scaled, build, load_regularizer, save_regularizer
from equipoise.shipped.card import Level, scales_at
from equipoise.shipped.score import Denoised, denoising_score
from equipoise.strict_json import write_json

FOLDER = ROOT / "benchmarks" / "reproduce"
WEIGHTS, RECORDS, STATES = FOLDER / "weights", FOLDER / "records", ROOT / "results" / "reproduce"
#: Side of what is cut from the images to choose by, how many, and the seed of their noise.
CROP, CHOSEN, NOISE_SEED = 128, 12, 7_001


def weights_of(name: str) -> Path:
    """Where the weights of a recipe lie."""
    return WEIGHTS / f"{name}.safetensors"


def say(words: str) -> None:
    """Print at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {words}", flush=True)


def learn(name: str, recipe: Recipe) -> None:
    """Train by a recipe and save weights and record."""
    settings, channels = recipe.settings, 3 if recipe.colour else 1
    torch.manual_seed(settings.seed)
    training = list(images("train", colour=recipe.colour).values())
    held_out = list(images("choose", colour=recipe.colour).values())[:CHOSEN]
    banks: list[PatchBank] = []
    validations: list[Validation] = []
    for index, noise in enumerate(recipe.noises):
        problem = denoise((channels, CROP, CROP), sigma=noise / 255)
        seed = settings.seed + 100 * index
        cut: dict[str, Any] = {"count": settings.patches, "size": settings.patch_size}
        kept = kept_between_visits(settings)
        banks.append(fill_bank(problem, training, seed=seed, kept=kept, **cut))
        validations.append(
            make_validation(problem, held_out, size=CROP, seed=seed + NOISE_SEED, tolerance=2e-4)
        )
    STATES.mkdir(parents=True, exist_ok=True)
    field, levels, matched = _begin(name, recipe, training, banks)
    trained = Levels(field, levels, held=recipe.strength is not None)

    def validate(levels: Levels) -> list[float]:
        pairs = zip(levels.fields, validations, strict=True)
        return [validation.measure(field)[0] for field, validation in pairs]

    state = STATES / f"{name}.checkpoint.safetensors"
    ways = recipe.pool, recipe.tuning
    log = train_levels(trained, banks, settings, state, validate, say, *ways)
    log["seconds"] += matched
    record = {
        "task": {"task": "denoise", "noise": recipe.noises[-1] / 255},
        "data": {"name": FOLDERS[recipe.colour]["train"], "channels": channels},
        "command": f"python -m benchmarks.reproduce train {name}",
        "settings": settings.model_dump(mode="json"),
        "begins": recipe.begins,
        **{key: each and asdict(each) for key, each in zip(("pool", "tuning"), ways, strict=True)},
        "matching": recipe.matching and asdict(recipe.matching),
        "levels": [level.model_dump() for level in trained.levels()],
        "training": log,
        "provenance": {"versions": versions(), "device": "cpu"},
    }
    WEIGHTS.mkdir(exist_ok=True)
    save_regularizer(weights_of(name), trained.fields[-1], record)


def _begin(
    name: str, recipe: Recipe, training: list[Tensor], banks: list[PatchBank]
) -> tuple[Scaled, list[Level], float]:
    """The regulariser, strength and scale of each level, and seconds of matching."""
    noises, matched = [noise / 255 for noise in recipe.noises], 0.0
    if recipe.begins is not None:
        field, known, _ = loaded(recipe.begins)
        scales = [scales_at(known, noise) for noise in noises]
    else:
        field, scales = Scaled(build(recipe.regularizer, **recipe.arguments)), []
        if recipe.matching is not None:
            state = STATES / f"{name}.matching.checkpoint.safetensors"
            seed = recipe.settings.seed
            matched = match(field, training, recipe.matching, seed, state, say)
        for bank in banks:
            if recipe.strength is None:
                calibrate(field, bank)
            else:
                field.set_scales(recipe.strength, field.scale)
            scales.append((field.strength, field.scale))
    pairs = zip(noises, scales, strict=True)
    levels = [Level(noise=noise, strength=a, scale=s) for noise, (a, s) in pairs]
    return field, levels, matched


def loaded(name: str) -> tuple[Scaled, list[Level], dict[str, Any]]:
    """Weights of a recipe, their levels, and their record."""
    field, record = load_regularizer(weights_of(name))
    assert isinstance(field, Scaled)
    return field, [Level.model_validate(level) for level in record["levels"]], record


def choose(name: str, recipe: Recipe) -> None:
    """Choose strength and scale of each noise level, and save them with the weights."""
    field, levels, record = loaded(name)
    known = scales_at(levels, recipe.noises[-1] / 255)
    chosen = chosen_levels(field, levels, recipe, say)
    record["levels"] = [level.model_dump() for level in chosen]
    record["factors"] = chosen_factors(field, chosen, recipe, say)
    field.set_scales(*known)
    save_regularizer(weights_of(name), field, record)


def measure(name: str, recipe: Recipe, role: Any, noise: float) -> None:
    """Score weights and write the record."""
    field, levels, _ = loaded(name)
    field.set_scales(*scales_at(levels, noise / 255))
    photographs, folder = images(role, colour=recipe.colour), FOLDERS[recipe.colour][role]

    def seen(image: Denoised) -> None:
        say(f"{image.name}: {image.input_psnr:.2f} -> {image.psnr:.2f} dB, {image.evaluations}")

    found = denoising_score(field, photographs, noise / 255, seen=seen)
    record = {
        "data": folder,
        "noise": noise,
        "images": len(photographs),
        "input_psnr": found.input_psnr,
        "psnr": found.psnr,
        "converged": found.converged,
        "seconds": sum(image.seconds for image in found.images),
        "evaluations": [image.evaluations for image in found.images],
        "psnrs": {image.name: image.psnr for image in found.images},
    }
    RECORDS.mkdir(exist_ok=True)
    write_json(record, RECORDS / f"{name}-{folder}-{noise:g}.json")
    say(f"{name}, {folder}, {noise:g}/255: {found.psnr:.3f} dB, {found.converged} converged")


def main(words: list[str]) -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce")
    parser.add_argument("verb", choices=["list", "train", "levels", "score", "ship", "table"])
    parser.add_argument("name", nargs="?", choices=[*RECIPES])
    parser.add_argument("--on", choices=["choose", "test"], default="choose")
    parser.add_argument("--noise", type=float, default=25.0, help="in 255ths")
    given = parser.parse_args(words)
    if given.verb == "list":
        for name, recipe in RECIPES.items():
            noises = ", ".join(f"{noise:g}" for noise in recipe.noises)
            print(f"{name}: {recipe.about}, noise {noises} of 255")
        return 0
    if given.verb == "table":
        fill()
        return 0
    if given.name is None:
        parser.error(f"{given.verb} needs a name: {', '.join(RECIPES)}.")
    recipe = RECIPES[given.name]
    try:
        if given.verb == "train":
            learn(given.name, recipe)
        elif given.verb == "levels":
            choose(given.name, recipe)
        elif given.verb == "ship" and recipe.ships_as is None:
            parser.error(f"{given.name} does not ship: others begin with it.")
        elif given.verb == "score":
            measure(given.name, recipe, given.on, given.noise)
        else:
            field, levels, record = loaded(given.name)
            records = sorted(RECORDS.glob(f"{given.name}-*.json"))
            say(f"wrote {ship(recipe, field, levels, record, records)}")
    except EquipoiseError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
