"""All methods on one image: when each first had an error, and its curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.findings import verdict
from benchmarks.peers import torchdeq_models
from benchmarks.peers.cases import GOAL, LEVELS, MAIN, PATIENCE, Case, Plan, name_of, solved
from benchmarks.peers.methods import DEFAULT, FASTEST, OURS, Method, peers
from benchmarks.peers.setting import Setting, setting
from benchmarks.peers.watch import Point, Trajectory, Watch
from benchmarks.record import Column, Row, Table, Value
from benchmarks.reference import Reference
from benchmarks.tables import number

#: Evaluations and seconds at which curves are sampled.
COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 70, 100, 200, 300, 500, 700, 1000, 2000, 3000)
SECONDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50)

_SAME = (
    "All packages evaluate equipoise's field with its constants folded once, take steps of 1 / L "
    "and start at the same image; their own time comes on top. An evaluation is one of the field "
    "(ours: with the potential). Plain L-BFGS is ours without preconditioner, nonmonotone is our "
    "nonmonotone accelerated gradient."
)


def compare(case: Case, plan: Plan, say: Callable[[str], None]) -> Iterator[tuple[str, Trajectory]]:
    """Run every method on the first image; label and trajectory of each."""
    one = case.instance(plan, 0)
    exact, given = solved(one), setting(one)
    quick = 0.0
    for method in (*OURS, *peers()):
        limit = _limit(method, case, plan, quick)
        say(f"{case.label}: {method.label}, at most {limit:.0f} s")
        if method.ours:
            method(given, Watch(exact.error, LEVELS[0], plan.own))  # compiles, warms caches
        found = _timed(method, given, exact, limit, plan.repeats if method.ours else 1)
        if method.label == DEFAULT:
            first = found.first(LEVELS[0])
            quick = plan.own if first is None else first.seconds
        yield method.label, found


def _limit(method: Method, case: Case, plan: Plan, quick: float) -> float:
    if method.ours:
        return plan.own
    most = plan.longest if case == MAIN and method.equilibrium else plan.brief
    return min(PATIENCE * quick, most)


def _timed(
    method: Method, given: Setting, exact: Reference, limit: float, repeats: int
) -> Trajectory:
    """The run of median duration of several; of one where that already takes long."""
    runs = [method(given, Watch(exact.error, GOAL, limit))]
    while len(runs) < repeats and len(runs) * runs[0].last.seconds < limit / 4:
        runs.append(method(given, Watch(exact.error, GOAL, limit)))
    runs.sort(key=lambda each: each.last.seconds)
    return runs[len(runs) // 2]


def comparison_table(case: Case, found: dict[str, Trajectory]) -> Table:
    """When each method first had an error."""
    rows = [method_row(label, each, found[DEFAULT]) for label, each in found.items()]
    if not torchdeq_models.available():
        rows.append(Row("torchdeq", {"evaluations0": torchdeq_models.MISSING}))
    title = f"{case.label[0].upper()}{case.label[1:]}, one image: all methods"
    return Table(title, error_columns(), rows, _SAME, "method")


def error_columns() -> list[Column]:
    """Columns of a table of methods: evaluations, seconds and ratio to ours for each error."""
    columns = []
    for k, level in enumerate(LEVELS):
        columns += [
            Column(f"evaluations{k}", f"evaluations to {name_of(level)}"),
            Column(f"seconds{k}", f"to {name_of(level)}", "s"),
            Column(f"ratio{k}", "its time over ours", digits=2),
        ]
    return columns


def method_row(label: str, found: Trajectory, own: Trajectory) -> Row:
    """The line of one method, compared with ours."""
    cells: dict[str, Value] = {}
    said = False
    for k, level in enumerate(LEVELS):
        point, ours = found.first(level), own.first(level)
        if point is None:
            cells[f"evaluations{k}"] = None if said else not_reached(found)
            said = True
            cells[f"ratio{k}"] = (
                f"> {number(found.last.seconds / ours.seconds, 2)}" if ours else None
            )
        else:
            cells[f"evaluations{k}"] = point.evaluations
            cells[f"seconds{k}"] = point.seconds
            cells[f"ratio{k}"] = point.seconds / ours.seconds if ours else None
    return Row(label, cells)


def not_reached(found: Trajectory) -> str:
    """Words for an error that was not reached."""
    last = found.last
    text = (
        f"not reached: {number(last.error, 2)} after {last.evaluations:,} evaluations, "
        f"{number(last.seconds, 2)} s"
    )
    return f"{text} ({found.words})" if found.words else text


def speed_ups(found: dict[str, Trajectory]) -> list[str]:
    """The time of each equilibrium model over ours, to the first level."""
    own = found[DEFAULT].first(LEVELS[0])
    findings = []
    for method in peers():
        if not method.equilibrium:
            continue
        measure = f"time of {method.label} over ours, denoising, crr, to {name_of(LEVELS[0])}"
        point, last = found[method.label].first(LEVELS[0]), found[method.label].last
        if own is None:
            findings.append(verdict(measure, None, 10, 30))
        elif point is not None:
            findings.append(verdict(measure, point.seconds / own.seconds, 10, 30))
        else:
            findings.append(
                f"{measure}: not reached in {number(last.seconds / own.seconds, 2)} times our time "
                f"(required 10, aim 30, or not reached in {PATIENCE:g}): its error is then "
                f"{number(last.error, 2)}."
            )
    return findings


def curve_tables(found: dict[str, Trajectory]) -> list[Table]:
    """Errors over evaluations and over seconds, for the figure."""
    equilibrium = [method.label for method in peers() if method.equilibrium]
    labels = [*(method.label for method in OURS), FASTEST, *equilibrium]
    columns = [Column(f"method{k}", label, digits=2) for k, label in enumerate(labels)]
    tables = []
    for title, subject, grid, place in (
        ("error after so many evaluations", "evaluations", COUNTS, _spent),
        ("error after so many seconds", "seconds", SECONDS, _elapsed),
    ):
        rows = []
        for value in grid:
            errors = [_error_at(found[label], value, place) for label in labels]
            if any(error is not None for error in errors):
                cells: dict[str, Value] = {f"method{k}": e for k, e in enumerate(errors)}
                rows.append(Row(f"{value:g}", cells))
        tables.append(Table(f"Denoising, crr, one image: {title}", columns, rows, "", subject))
    return tables


def _spent(point: Point) -> float:
    return point.evaluations


def _elapsed(point: Point) -> float:
    return point.seconds


def _error_at(found: Trajectory, value: float, place: Callable[[Point], float]) -> float | None:
    """The error when so much was spent; None before the first point and after the last."""
    before = [point for point in found.points if place(point) <= value]
    if not before or value > 1.2 * place(found.last) or before[-1].error == float("inf"):
        return None
    return before[-1].error
