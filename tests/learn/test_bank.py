"""The bank's warm starts: turned with their patches, and within a memory budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learning_problems import SIZE, pose, quick, scenes, small_bank, small_field, small_validation
from torch import Tensor

from equipoise.learn import PatchBank, TrainSettings, fill_bank, learn, train
from equipoise.learn.bank import any_direction, kept_between_visits, shortage
from equipoise.learn.schedules import turns_at
from equipoise.learn.step import StepReport, accumulate_gradient
from equipoise.problems import Problem, dihedral, tomography
from equipoise.regularizers.base import Regularizer

#: Solved to the rounding of float64.
TIGHT: dict[str, Any] = {"adjoint_tolerance": 1e-11, "max_products": 400, "max_evaluations": 4000}
TOLERANCE = 1e-12
PATCH_BYTES = SIZE * SIZE * 8


def step(
    regularizer: Regularizer,
    bank: PatchBank,
    settings: TrainSettings,
    rows: Tensor,
    turns: Tensor | None = None,
    tolerance: float = TOLERANCE,
) -> tuple[StepReport, dict[str, Tensor]]:
    regularizer.zero_grad(set_to_none=True)
    report = accumulate_gradient(regularizer, bank, rows, settings, tolerance, turns)
    found = {n: p.grad.clone() for n, p in regularizer.named_parameters() if p.grad is not None}
    return report, found


def close(a: dict[str, Tensor], b: dict[str, Tensor], rtol: float) -> None:
    assert a.keys() == b.keys()
    for name, slope in a.items():
        size = float(b[name].norm())
        assert float((slope - b[name]).norm()) <= rtol * size, name


def parallel_beam() -> Problem:
    return tomography((1, SIZE, SIZE), 6, dtype=torch.float64)


# ---- turns --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["denoise", "deblur"])
@pytest.mark.parametrize(
    ("mode", "field"),
    [("bilevel", "tied-conv"), ("equilibrium", "untied-conv"), ("unrolled", "tied-conv")],
)
def test_a_turned_step_is_the_step_of_turned_data(mode: str, field: str, task: str) -> None:
    # The reference is a bank that was filled with turned patches and measurements by hand.
    settings, regularizer = quick(mode=mode, **TIGHT), small_field(field)
    bank, by_hand = small_bank(pose(task)), small_bank(pose(task))
    rows, turns = torch.tensor([4, 0, 3]), torch.tensor([1, 6, 7])
    for row, turn in zip(rows.tolist(), turns.tolist(), strict=True):
        by_hand.truth[row] = dihedral(by_hand.truth[row], turn)
        by_hand.y[row] = dihedral(by_hand.y[row], turn)
    report, found = step(regularizer, bank, settings, rows, turns)
    expected, reference = step(regularizer, by_hand, settings, rows)
    assert report.loss == pytest.approx(expected.loss, rel=1e-9)
    close(found, reference, 1e-7)
    untouched, plain = step(regularizer, small_bank(pose(task)), settings, rows)
    assert untouched.loss != pytest.approx(expected.loss, rel=1e-6)  # R knows up from down
    assert any(float((found[n] - plain[n]).norm()) > 1e-3 * float(plain[n].norm()) for n in found)


def test_warm_starts_are_kept_in_the_orientation_of_the_measurements() -> None:
    settings, regularizer = quick(mode="equilibrium", **TIGHT), small_field("untied-conv")
    bank, rows, turns = small_bank(), torch.arange(3), torch.tensor([3, 5, 0])
    first, _ = step(regularizer, bank, settings, rows, turns)
    again, _ = step(regularizer, bank, settings, rows, turns)
    assert first.forward_evaluations > 5
    assert again.forward_evaluations <= 2
    assert again.adjoint_products <= 1 < first.adjoint_products
    assert again.loss == pytest.approx(first.loss, rel=1e-9)
    # Another turn, another equation; but the solution is near, so that little is left to do.
    other, _ = step(regularizer, bank, settings, rows, torch.tensor([2, 7, 4]))
    assert 1 < other.forward_evaluations < first.forward_evaluations


def test_a_cold_and_a_warm_turned_step_agree() -> None:
    regularizer = small_field("untied-conv")
    rows, turns = torch.arange(4), torch.tensor([1, 2, 3, 4])
    warm, cold = (
        quick(mode="equilibrium", **TIGHT),
        quick(mode="equilibrium", warm_start=False, **TIGHT),
    )
    bank = small_bank()
    step(regularizer, bank, warm, rows, torch.tensor([7, 0, 5, 1]))
    known, found = step(regularizer, bank, warm, rows, turns)
    fresh, expected = step(regularizer, small_bank(), cold, rows, turns)
    assert known.loss == pytest.approx(fresh.loss, rel=1e-9)
    close(found, expected, 1e-7)


def test_sinograms_are_turned_by_the_symmetry_of_their_own() -> None:
    side = 8  # and 12 rays: where the numbers differ by an odd one, nothing is symmetric
    problem = parallel_beam().for_shape((1, side, side))
    bank = fill_bank(problem, scenes(2), count=2, size=side, seed=0)
    assert [(s.image, s.measurement) for s in bank.symmetries] == [(0, 0), (2, 6)]
    visit = bank.visit(torch.arange(2), torch.tensor([1, 0]))
    assert torch.equal(visit.truth[0], dihedral(bank.truth[0], 2))
    assert torch.equal(visit.y[0], bank.y[0].flip(-2))
    assert torch.equal(visit.y[1], bank.y[1])
    noise = bank.y[0] - problem.physics.A(bank.truth[:1])[0]
    turned = visit.y[0] - problem.physics.A(visit.truth[:1])[0]
    torch.testing.assert_close(turned, noise.flip(-2))


def test_random_masks_are_never_turned() -> None:
    bank = small_bank(pose("inpaint"))
    assert len(bank.symmetries) == 1
    visit = bank.visit(torch.arange(3), turns_at(0, 3, len(bank.symmetries), seed=0))
    assert torch.equal(visit.y, bank.y[:3])


def test_turns_are_a_function_of_step_and_seed() -> None:
    draws = [turns_at(step, 64, 8, seed=0) for step in range(20)]
    assert all(torch.equal(turns_at(k, 64, 8, seed=0), draw) for k, draw in enumerate(draws))
    assert len({tuple(draw.tolist()) for draw in draws}) == 20
    assert not torch.equal(turns_at(3, 64, 8, seed=1), draws[3])
    counts = torch.stack(draws).flatten().bincount(minlength=8)
    assert int(counts.min()) > 100  # 160 of each are expected


def test_augmented_training_differs_where_the_physics_allows_it() -> None:
    def losses(task: str, augment: bool) -> list[float]:
        settings = quick(mode="bilevel", augment=augment, steps=6)
        result = train(
            small_field(), small_bank(pose(task)), small_validation(pose(task)), settings
        )
        return result.log.loss

    assert losses("denoise", True) != losses("denoise", False)
    assert losses("inpaint", True) == losses("inpaint", False)


# ---- the memory budget --------------------------------------------------------------------------


def limited(patches_of_room: float, **options: Any) -> PatchBank:
    return fill_bank(
        pose(),
        scenes(3),
        count=6,
        size=SIZE,
        seed=0,
        budget=int(patches_of_room * PATCH_BYTES),
        **options,
    )


@pytest.mark.parametrize(
    ("room", "kept", "held"),
    [
        (18, ("x", "direction", "q"), (6, 6, 6)),
        (17.9, ("x", "direction", "q"), (6, 6, 5)),
        (13, ("x", "direction", "q"), (6, 6, 1)),
        (9, ("x", "direction", "q"), (6, 3, 0)),
        (9, ("x", "q"), (6, 0, 3)),
        (4.5, ("x", "q"), (4, 0, 0)),
        (0, ("x", "q"), (0, 0, 0)),
        (100, ("x",), (6, 0, 0)),
    ],
)
def test_adjoints_are_given_up_before_solutions(
    room: float, kept: tuple[str, ...], held: tuple[int, int, int]
) -> None:
    bank = limited(room, kept=kept)
    assert (len(bank.x), len(bank.direction), len(bank.q)) == held
    stored = sum(t.numel() * t.element_size() for t in bank.warm_starts().values())
    assert stored <= room * PATCH_BYTES


def test_patches_beyond_the_budget_start_cold_and_give_the_same_gradient() -> None:
    settings = quick(mode="equilibrium", jacobian_penalty=0.1, **TIGHT)
    regularizer, rows = small_field("untied-conv"), torch.tensor([0, 5, 2])
    whole, part, none = small_bank(), limited(8, kept=("x", "q")), limited(0)
    assert (len(part.x), len(part.q)) == (6, 2)
    part.x = part.x[:1]  # of the three only the first is remembered
    found = {}
    for name, bank in (("whole", whole), ("part", part), ("none", none)):
        step(regularizer, bank, settings, rows)
        found[name] = step(regularizer, bank, settings, rows)
    assert found["whole"][0].forward_evaluations <= 1
    cold = found["none"][0].forward_evaluations
    assert 0.5 * cold < found["part"][0].forward_evaluations < 0.8 * cold
    assert found["part"][0].loss == pytest.approx(found["whole"][0].loss, rel=1e-9)
    assert float(part.q[0].norm()) > 0
    assert float(part.q[1].norm()) == 0  # not visited


NAMES = ("x", "direction", "q")


@pytest.mark.parametrize("turns", [None, (3, 5, 6)])
@pytest.mark.parametrize("order", [(5, 2, 0), (0, 5, 2), (4, 5, 3), (2, 1, 0)])
def test_every_row_has_the_warm_start_of_its_own_patch(
    order: tuple[int, ...], turns: tuple[int, ...] | None
) -> None:
    bank, cold, rows = limited(100), limited(0), torch.tensor(order)
    for name in NAMES:  # a store of three
        numbers = torch.arange(3.0 * SIZE * SIZE, dtype=torch.float64)
        setattr(bank, name, 7.0 + numbers.reshape(3, 1, SIZE, SIZE))
    chosen = None if turns is None else torch.tensor(turns)
    found, fresh = bank.visit(rows, chosen), cold.visit(rows, chosen)
    elements = [0] * 3 if turns is None else [bank.symmetries[i].image for i in turns]
    for name in NAMES:
        store, values, other = (getattr(each, name) for each in (bank, found, fresh))
        if values is None:  # nothing is known of these patches
            assert min(order) > 2
            continue
        for place, row in enumerate(order):
            if row < 3:
                assert torch.equal(values[place], dihedral(store[row], elements[place])), name
            elif name == "q":
                assert torch.equal(values[place], torch.zeros_like(values[place]))
            elif name == "x":
                assert torch.equal(values[place], other[place])
            else:
                image = any_direction(bank.truth[:1])[0]
                assert torch.equal(values[place], dihedral(image, elements[place]))
    # What comes out goes back to the row it came from, in the orientation of the measurements.
    before = {name: getattr(bank, name).clone() for name in NAMES}
    latest = {name: -1.0 - k + torch.rand_like(found.x) for k, name in enumerate(NAMES)}
    bank.keep(found, **latest)
    for name in NAMES:
        for row in range(3):
            now = getattr(bank, name)[row]
            if row in order:
                place = order.index(row)
                assert torch.equal(dihedral(now, elements[place]), latest[name][place]), name
            else:
                assert torch.equal(now, before[name][row])
    again = bank.visit(rows, chosen)
    for place in (place for place, row in enumerate(order) if row < 3):
        assert torch.equal(again.x[place], latest["x"][place])


def test_what_a_training_keeps_between_visits() -> None:
    assert kept_between_visits(quick(mode="bilevel")) == ("x", "q")
    assert kept_between_visits(quick(mode="jacobian-free")) == ("x",)
    assert kept_between_visits(quick(mode="unrolled")) == ()
    assert kept_between_visits(quick(mode="bilevel", warm_start=False)) == ()
    penalised = {"mode": "equilibrium", "jacobian_penalty": 0.1}
    assert kept_between_visits(quick(**penalised)) == ("x", "direction", "q")
    assert kept_between_visits(quick(**penalised, warm_start=False)) == ("direction",)


def test_a_shortage_is_reported() -> None:
    def notes(room: int) -> tuple[str, ...]:
        settings = quick(steps=2, warm_start_bytes=room * PATCH_BYTES)
        config = {"filters": 2, "kernel_size": 3}
        data = (pose(), scenes(3), scenes(2, seed=9))
        return learn("tied-conv", config, *data, settings, validation_crop=16).notes

    assert notes(12) == ()
    (note,) = notes(7)
    assert "of 6 patches solutions of 6, adjoints of 1" in note
    assert shortage(limited(12, kept=("x", "q")), quick()) is None
    assert shortage(limited(0), quick(warm_start=False)) is None


def test_an_equation_of_the_bank_keeps_what_is_known_of_the_physics() -> None:
    bank, regularizer = small_bank(parallel_beam(), count=3), small_field()
    first = bank.equation(regularizer, bank.y[:2])
    weaker = first.traits.lipschitz
    bounds, multiplier = first.data.gram.bounds, first.data.multiplier(bank.x[:2])
    regularizer.set_scales(2.0, 1.0)
    second = bank.equation(regularizer, bank.y[1:])
    assert second.data.gram.bounds is bounds
    assert second.data.multiplier(bank.x[1:]) is multiplier
    assert second.traits.lipschitz != weaker  # R's own are those of now
