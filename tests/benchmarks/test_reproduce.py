"""The way from a recipe to weights that ship, with tiny images and few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.reproduce import __main__ as program
from benchmarks.reproduce import data, levels, matching, ship, table
from benchmarks.reproduce.recipes import RECIPES, Recipe
from equipoise.learn.checkpoint import read_checkpoint
from equipoise.problems import photographs
from equipoise.regularizers import Scaled
from equipoise.settings.training import TrainSettings
from equipoise.shipped import models, verify
from shared_data import shared


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe ``tiny``, photographs of 40 pixels, and folders of its own."""
    split = photographs(crop=40)
    cut = [image[:, :40, :40] for image in (*split.train, *split.val)]

    def images(role: str, *, colour: bool = False) -> dict[str, Tensor]:
        chosen = cut[:3] if role == "train" else cut[3:5]
        return {f"{role}{index}": image for index, image in enumerate(chosen)}

    settings = TrainSettings(
        steps=4, batch_size=4, patch_size=16, patches=8, validate_every=2, augment=True
    )
    recipe = Recipe("crr", {"filters": [2, 4]}, (15.0, 25.0), settings, "a ridge", "small-gray")
    recipe = replace(recipe, pool=levels.Pool(patches=4, visits=2))
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    for module in (program, ship):
        monkeypatch.setattr(module, "images", images)
    for name, folder in (("WEIGHTS", "weights"), ("RECORDS", "records"), ("STATES", "states")):
        monkeypatch.setattr(program, name, tmp_path / folder)
    monkeypatch.setattr(program, "CROP", 32)
    for name, value in (
        ("SHIPPED", tmp_path / "shipped"),
        ("CROP", 32),
        ("SEARCH", 4),
        ("NOISES", (15.0, 25.0)),
        ("FACTORS", (2.0, 1.0, 0.5)),
        ("TRIED", 2),
        ("TASKS", {"inpaint": ({"mask": "0.5", "noise": 0.02},)}),
    ):
        monkeypatch.setattr(ship, name, value)
    monkeypatch.setattr("equipoise.shipped.checking.CROP", 32)
    return tmp_path


def test_from_a_recipe_to_a_card(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (
        ["train", "tiny"],
        ["levels", "tiny"],
        ["score", "tiny", "--on", "choose", "--noise", "25"],
        ["ship", "tiny"],
    ):
        assert program.main(words) == 0
    record = json.loads((small / "records" / "tiny-set12-25.json").read_text())
    assert record["images"] == record["converged"] == 2
    monkeypatch.setattr(models, "_folder", lambda: small / "shipped")
    assert models.names() == ["small-gray"]
    _, card = models.shipped("small-gray")
    assert card.command == "python -m benchmarks.reproduce train tiny"
    assert [round(255 * level.noise) for level in card.levels] == [15, 25]
    assert set(card.factors) == {"inpaint"}
    reached = {(r.data, round(255 * r.noise)): r.psnr for r in card.results}
    assert reached["set12", 25] == record["psnr"] > record["input_psnr"] + 2
    assert all(check.passed for check in verify("small-gray"))
    readme = small / "README.md"
    readme.write_text(f"before {table.BEGIN}old{table.END} after")
    table.fill(readme)
    text = readme.read_text()
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert f"{record['psnr']:.2f}" in text
    assert "old" not in text


def test_a_training_goes_on(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after two of four steps and begun again: two more, from the weights that were."""
    seen: list[dict[str, Tensor]] = []
    accumulate = levels.accumulate_gradient

    def counted(field: Scaled, *arguments: object) -> object:
        if len(seen) == 4 and not resumed:
            raise KeyboardInterrupt
        seen.append({name: t.clone() for name, t in field.regularizer.state_dict().items()})
        return accumulate(field, *arguments)  # type: ignore[arg-type]

    resumed = False
    monkeypatch.setattr(levels, "accumulate_gradient", counted)
    monkeypatch.setattr(levels, "SAVE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        program.main(["train", "tiny"])
    assert len(seen) == 4  # two steps with two levels
    saved = read_checkpoint(small / "states" / "tiny.checkpoint.safetensors").group("weights")
    resumed = True
    assert program.main(["train", "tiny"]) == 0
    assert len(seen) == 8
    first, after = seen[0]["operator.layers.0"], seen[4]["operator.layers.0"]
    assert torch.equal(after, saved["0"])
    assert not torch.equal(after, first)


def test_filters_begin_with_one_step_of_denoising(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matching lowers its error, goes on where it was stopped, and the rest begins with it."""
    how = matching.Matching(seconds=60.0, patch_size=24, margin=4, batch_size=4)
    arguments = {"filters": [2, 4], "padding": "circular"}
    recipe = replace(RECIPES["tiny"], matching=how, regularizer="wcrr", arguments=arguments)
    recipe = replace(recipe, strength=1.0, tuning=levels.Tuning(steps=4, rate=0.05, factor=2.0))
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    monkeypatch.setattr(matching, "SAVE", 0.0)
    drawn, seeds = matching._drawn, []

    def stopped(photographs: list[Tensor], how: matching.Matching, seed: int) -> object:
        if len(seeds) == 30 and not resumed:
            raise KeyboardInterrupt
        seeds.append(seed)
        return drawn(photographs, how, seed)

    def clock() -> float:
        """One second from each look to the next but one: sixty steps."""
        return next(ticks)

    ticks, resumed = (0.5 * k for k in count()), False
    monkeypatch.setattr(matching, "_drawn", stopped)
    monkeypatch.setattr(matching.time, "perf_counter", clock)
    with pytest.raises(KeyboardInterrupt):
        program.main(["train", "tiny"])
    state = small / "states" / "tiny.matching.checkpoint.safetensors"
    resumed = True
    monkeypatch.setattr(levels.time, "perf_counter", clock)
    assert program.main(["train", "tiny"]) == 0
    whole = read_checkpoint(state)
    assert seeds == [*range(120)]
    assert whole.facts["error"] < 0.6 * how.noise**2
    field, _, record = program.loaded("tiny")
    assert record["matching"]["seconds"] == 60.0
    assert record["training"]["seconds"] > 60.0
    assert record["tuning"]["steps"] == 4
    for layer in field.regularizer.operator.parameters():  # held in all four steps
        assert any(torch.equal(layer, known) for known in whole.group("weights").values())
    slopes = field.regularizer.profile.log_slope
    assert not any(torch.equal(slopes, known) for known in whole.group("weights").values())
    state.rename(small / "resumed.safetensors")
    assert program.main(["train", "tiny"]) == 0
    at_once = read_checkpoint(state)
    for group in ("weights", "optimizer"):
        for name, tensor in whole.group(group).items():
            assert torch.equal(tensor, at_once.group(group)[name])


def test_pools_are_visited_several_times_in_a_row() -> None:
    pool = levels.Pool(patches=4, visits=3)
    steps = [pool.rows(step, 8, 2, seed=0).tolist() for step in range(12)]
    first, second = [*chain(*steps[:6])], [*chain(*steps[6:])]
    assert {first.count(row) for row in set(first)} == {3} == {second.count(r) for r in set(second)}
    assert sorted({*first, *second}) == list(range(8))
    assert len(set(first)) == 4
    assert steps[0] + steps[1] != steps[2] + steps[3]  # in another order
    turns = [
        pool.turns(step, torch.tensor(steps[step]), 8, 8, seed=0).tolist() for step in range(12)
    ]
    pairs = [
        {*zip(chain(*s), chain(*t), strict=True)}
        for s, t in ((steps[:6], turns[:6]), (steps[6:], turns[6:]))
    ]
    assert [len(each) for each in pairs] == [4, 4]  # turned alike at every visit
    every = [pool.turns(12 * k, torch.arange(2), 8, 8, seed=0).tolist() for k in range(9)]
    assert len({*map(tuple, every)}) > 1  # but not for ever


def test_what_others_begin_with_does_not_ship(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", replace(RECIPES["tiny"], ships_as=None))
    with pytest.raises(SystemExit):
        program.main(["ship", "tiny"])
    assert "tiny does not ship" in capsys.readouterr().err


def test_patches_and_choices_never_mix() -> None:
    shared("bsds300_color")
    train, choose = data.images("train", colour=True), data.images("choose", colour=True)
    assert not train.keys() & choose.keys()
    assert len(train) > 5 * len(choose) > 0
    assert {image.shape[0] for image in choose.values()} == {3}
    assert all(float(image.max()) <= 1 for image in choose.values())
    assert next(iter(choose.values())).dtype == torch.float32


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in RECIPES)
    with pytest.raises(SystemExit):
        program.main(["train"])
