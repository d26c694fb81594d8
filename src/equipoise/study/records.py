"""What a study measured: curves with intervals and statuses, numbers, and findings in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from equipoise.bounds import Kind
from equipoise.strict_json import jsonable

if TYPE_CHECKING:
    from equipoise.study.slopes import Interval

#: What a curve is: a measurement, a bound from theory, or a line of a given slope.
Role = Literal["measured", "bound", "reference"]


@dataclass(frozen=True)
class Series:
    """One curve of a figure.

    Args:
        name: what a program looks it up by, in snake_case.
        label: what a reader calls it.
        x: abscissae.
        y: ordinates, as many; not finite where there is none.
        role: measured, bound, or reference; the bound of a curve NAME is called NAME_bound.
        kind: PROVED or ESTIMATED; measurements are ESTIMATED.
        low: lower end of an interval at each point, or empty.
        high: upper end, or empty.
        status: name of the worst status of the solves behind each point, ``CONVERGED`` where all
            reached the tolerance; empty where no solve was needed.
        limited: whether a choice behind each point sits at the limit of its search; empty where
            nothing was searched.
    """

    name: str
    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    role: Role = "measured"
    kind: Kind = Kind.ESTIMATED
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    status: tuple[str, ...] = ()
    limited: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for other in (self.y, self.low, self.high, self.status, self.limited):
            if other and len(other) != len(self.x):
                raise ValueError(f"{self.name}: {len(self.x)} abscissae, {len(other)} values")

    @classmethod
    def of_means(
        cls,
        name: str,
        label: str,
        x: tuple[float, ...],
        means: Sequence[Interval],
        status: tuple[str, ...],
    ) -> Series:
        """A curve of measured means with their intervals."""
        values, low, high = zip(*((m.value, m.low, m.high) for m in means), strict=True)
        return cls(name, label, x, values, low=low, high=high, status=status)

    @property
    def solved(self) -> tuple[bool, ...]:
        """Whether every solve behind each point converged."""
        return tuple(word == "CONVERGED" for word in self.status) or (True,) * len(self.x)


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its curves."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = True
    log_y: bool = True


@dataclass(frozen=True)
class Number:
    """One number of the table.

    Args:
        name: what a program looks it up by, in snake_case.
        title: what a reader calls it.
        value: the number; None where there is none (a hypothesis fails, no solve converged).
        kind: PROVED or ESTIMATED.
        low: lower end of its interval, or None.
        high: upper end, or None.
        theory: what theory says it is, or None.
        status: name of the worst status of the solves behind it; empty without solves.
        words: one sentence, for example why there is no number.
        main: whether the terminal's table shows it; page and JSON show all.
    """

    name: str
    title: str
    value: float | None
    kind: Kind = Kind.ESTIMATED
    low: float | None = None
    high: float | None = None
    theory: float | None = None
    status: str = ""
    words: str = ""
    main: bool = True


@dataclass(frozen=True, eq=False)
class Picture:
    """One gray image; it is shown on the page and left out of the JSON file.

    Args:
        title: what it shows.
        values: shape (H, W).
        low: value that is drawn black.
        high: value that is drawn white.
    """

    title: str
    values: NDArray[np.floating]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class CaseRecord:
    """What one study found in one case.

    Args:
        physics: name of the physics.
        regularizer: name of the regulariser.
        description: one sentence that says what both are.
        panels: the figure.
        numbers: the table.
        findings: plain sentences; those a reader should see first come first.
        unsolved: solves that did not reach the tolerance and were left out of slopes and means.
        solves: all solves.
        pictures: images for the page.
        monotone: whether R is proved to be monotone; a solve that fails is a finding where it is
            not, and a failure where it is.
    """

    physics: str
    regularizer: str
    description: str
    panels: tuple[Panel, ...]
    numbers: tuple[Number, ...]
    findings: tuple[str, ...]
    unsolved: int = 0
    solves: int = 0
    pictures: tuple[Picture, ...] = field(default=(), repr=False)
    monotone: bool = True

    @property
    def title(self) -> str:
        """What a reader calls the case."""
        return f"{self.physics}, {self.regularizer}"

    def number(self, name: str) -> Number | None:
        """The number of that name, or None."""
        return next((number for number in self.numbers if number.name == name), None)

    def series(self, panel: str, name: str) -> Series | None:
        """The curve of that name in the panel of that name, or None."""
        curves = (s for p in self.panels if p.name == panel for s in p.series)
        return next((curve for curve in curves if curve.name == name), None)


@dataclass(frozen=True)
class StudyRecord:
    """A whole study: what its JSON file holds.

    Args:
        study: its name.
        title: its question.
        settings: settings as given.
        cases: one record for each physics and regulariser.
        versions: versions of what computed it.
        seconds: wall-clock time.
        run: which run produced it.
        notes: what is odd about the files of the images.
    """

    study: str
    title: str
    settings: dict[str, Any]
    cases: tuple[CaseRecord, ...]
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    run: str = ""
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """JSON-able form; infinite numbers become texts and missing ones null."""
        bare = [replace(case, pictures=()) for case in self.cases]
        entries = asdict(replace(self, cases=tuple(bare)))
        for case in entries["cases"]:
            del case["pictures"]
        return {key: jsonable(entry) for key, entry in entries.items()}
