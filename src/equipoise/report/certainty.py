"""How much the findings can carry: few photographs, few seeds, and what that means."""

from __future__ import annotations

from typing import NamedTuple

from equipoise.compare.records import Comparison
from equipoise.report.groups import group_runs
from equipoise.report.words import photographs, significant

#: From this many photographs on, the interval is not called one over few.
ENOUGH = 20

#: The fewest photographs for which agreement on all has a two-sided sign test below 5 %.
SIGN_TEST = 6


class Finding(NamedTuple):
    """Plain sentences (no markup) about one topic, a few words that lead them."""

    topic: str
    text: str


def certainty(comparison: Comparison) -> list[Finding]:
    """Say what the numbers of photographs and of training seeds allow one to conclude."""
    groups = [group for task in comparison.tasks for group in group_runs(task)]
    if not groups:
        return []
    scored = min(len(group.photographs) for group in groups)
    seeds = max(len(group.runs) for group in groups)
    return [Finding("Photographs", _photographs(scored)), Finding("Seeds", _seeds(seeds))]


def _photographs(n: int) -> str:
    if n == 0:
        return "A method has no scored photograph."
    if n == 1:
        return (
            "All this rests on 1 photograph: no interval over photographs is possible, and"
            " another photograph may order the methods differently."
        )
    if n >= ENOUGH:
        return f"Intervals are bootstrapped over {photographs(n)}."
    text = (
        f"The intervals rest on {photographs(n)}, which is few: with so few, the bootstrap tends"
        " to give intervals that are too narrow, and other photographs may order the methods"
        " differently."
    )
    if n < SIGN_TEST:
        text += (
            f" Even agreement on all {n} has a two-sided sign-test p-value of"
            f" {significant(2.0 ** (1 - n), 3)}, so no difference here is significant at the 5 %"
            " level by that test."
        )
    return text


def _seeds(seeds: int) -> str:
    if seeds == 1:
        return (
            "Each method was trained with one seed, so how far results move with the seed is"
            " not measured."
        )
    return f"Learned methods were trained with up to {seeds} seeds; their numbers are means."
