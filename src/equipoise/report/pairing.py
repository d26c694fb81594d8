"""Which methods the page sets against each other: the tied pair and its untied rivals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from equipoise.report.differences import Difference, Verdict, paired_difference
from equipoise.report.groups import Group
from equipoise.report.words import count

#: Numbers of parameters that differ by less than this share count as matched.
MATCHED = 0.1


@dataclass(frozen=True)
class Contest:
    """A rival against the reference, and what the two have in common.

    Args:
        rival: a regulariser learned as an equilibrium model.
        reference: the regulariser learned by bilevel optimisation.
        terms: phrase that says what is equal, for example "at the same number of filters (32)".
        matched: whether the numbers of parameters match.
    """

    rival: Group
    reference: Group
    terms: str
    matched: bool

    @property
    def same_filters(self) -> bool:
        """Whether both have the same number of filters."""
        return self.rival.filter_count == self.reference.filter_count is not None

    @cached_property
    def difference(self) -> Difference | None:
        """PSNR of the rival minus that of the reference; None where they cannot be compared."""
        return paired_difference(self.rival, self.reference)

    @property
    def verdict(self) -> Verdict | None:
        """What the difference shows; None where there is none."""
        return None if self.difference is None else self.difference.verdict


def find_reference(groups: list[Group]) -> Group | None:
    """Find the bilevel method that the others are measured against: the tied pair if present."""
    bilevel = [g for g in groups if g.summary.method == "bilevel"]
    tied = [g for g in bilevel if g.summary.regularizer.startswith("tied")]
    return next(iter(tied or bilevel), None)


def find_contests(groups: list[Group]) -> list[Contest]:
    """Find the untied rivals of the tied pair: the same filters, and matched parameters.

    Returns:
        The contest at the same number of filters first, then the one at matched parameters; one
        contest if a rival meets both, or if none meets either; none if a side is missing.
    """
    reference = find_reference(groups)
    rivals = [g for g in groups if g.summary.method == "equilibrium"]
    rivals = [g for g in rivals if g.summary.regularizer.startswith("untied")] or rivals
    if reference is None or not rivals:
        return []
    filters = reference.filter_count
    parameters = reference.summary.parameters
    same = [g for g in rivals if filters is not None and g.filter_count == filters]
    near = sorted(rivals, key=lambda g: abs(g.summary.parameters - parameters))[0]
    matched = _matched(near, reference)
    sizes = f"{count(near.summary.parameters)} against {count(parameters)}"
    if same and same[0] is near and matched:
        terms = f"at the same number of filters ({filters}) and matched parameters ({sizes})"
        return [Contest(near, reference, terms, True)]
    contests = []
    if same:
        terms = f"at the same number of filters ({filters})"
        contests.append(Contest(same[0], reference, terms, _matched(same[0], reference)))
    if matched:
        contests.append(Contest(near, reference, f"at matched parameters ({sizes})", True))
    return contests or [Contest(near, reference, f"with {sizes} parameters", False)]


def _matched(rival: Group, reference: Group) -> bool:
    difference = abs(rival.summary.parameters - reference.summary.parameters)
    return difference <= MATCHED * reference.summary.parameters
