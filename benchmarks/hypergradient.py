"""Table 3: the hypergradient, against the exact one and against other packages.

The derivative of ``||x - truth||^2 / 2`` by all parameters of R, for denoising. What the packages
return is compared with the exact derivative in float64 (:mod:`benchmarks.peers.exact`), once from
the solution that each finds itself and once from the exact solution, which no user has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmarks import machine, plots, timing
from benchmarks.findings import verdict
from benchmarks.instances import Weights, instance
from benchmarks.peers import derivatives, torchdeq_models
from benchmarks.peers.cases import name_of
from benchmarks.peers.derivatives import Derivative, Differentiation, double_backprop, own
from benchmarks.peers.exact import Exact, exact_hypergradient
from benchmarks.peers.setting import Setting, setting
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.tables import number
from equipoise.differentiate import KrylovAdjoint, adjoint_by_name, default_adjoint
from equipoise.linear import ConjugateGradients, LinearSolver
from equipoise.reconstructor import SolveOptions
from equipoise.status import LinearSolution

#: Adjoint residuals that are asked for; float32 allows no smaller ones.
LOOSE, TIGHT = 1e-3, 1e-5
#: Tolerances of our forward solve: the library's default, and a tight one.
USUAL, EXACT = SolveOptions().tolerance, 1e-5
#: A cosine below which a direction counts as wrong.
WRONG = 0.9

#: Rows of the two ways to differentiate twice.
REBUILT = "double-backprop MINRES to 1e-3, graph built in each product"
KEPT = "double-backprop MINRES to 1e-3, graph kept"

_FOUND, _GIVEN = "from the solution that each finds", "from the exact solution"


@dataclass(frozen=True)
class _Plan:
    size: int
    repeats: int


FULL, SHORT = _Plan(256, 3), _Plan(96, 3)


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Differentiate solutions with every package."""
    began = time.perf_counter()
    plan = SHORT if short else FULL
    tables: list[Table] = []
    findings: list[str] = []
    names: tuple[Weights, ...] = ("crr", "wcrr")
    for name in names:
        one = instance("denoise", name, 0, plan.size)
        say(f"{name}: exact hypergradient in float64")
        repeats = plan.repeats if name == "crr" else 1
        exact, given = exact_hypergradient(one), setting(one)
        costs, words = _costs(name, exact, given, repeats)
        tables.append(costs)
        findings += words if name == "crr" else []
        for title, methods, solution in (
            (_FOUND, [*_solving(), *derivatives.peers()], None),
            (_GIVEN, [*_solved(), *derivatives.peers()], exact.x.to(one.truth)),
        ):
            found = []
            for method in methods:
                say(f"{name}, {title}: {method.label}")
                found.append((method.label, _median(method, given, solution, repeats)))
            rows = [_row(label, each, exact) for label, each in found]
            if solution is None:
                findings.append(_silent(name, rows))
            if not torchdeq_models.available():
                rows.append(Row("torchdeq", {"words": torchdeq_models.MISSING}))
            tables.append(Table(f"Denoising, {name}, {title}", _COLUMNS, rows, _NOTE, "method"))
    settings = {
        "image size": plan.size,
        "images": 1,
        "seed": 0,
        "dtype": "float32",
        "forward iterations of other packages": derivatives.ITERATIONS,
        "Broyden's": derivatives.BROYDEN,
        "repeats of our methods, crr": plan.repeats,
    }
    return Record(
        "hypergradient",
        "How exact and how fast is the derivative of the solution by the parameters of R?",
        settings,
        machine.describe(),
        tables,
        findings,
        time.perf_counter() - began,
    )


def _solving() -> list[Differentiation]:
    """Ours from our own solutions."""
    return [
        own("equipoise, defaults", lambda given: None, USUAL),
        own("equipoise, solved to 1e-5", lambda given: None, EXACT),
        own("equipoise, solved to 1e-5, adjoint to 1e-3", _exact(LOOSE), EXACT),
        own("equipoise, cg:10", lambda given: adjoint_by_name("cg:10"), USUAL),
        own("equipoise, Jacobian-free", lambda given: adjoint_by_name("jacobian-free"), USUAL),
    ]


def _solved() -> list[Differentiation]:
    """Ours from a solution that is given, and double back-propagation."""
    return [
        own("equipoise, default adjoint", lambda given: None, USUAL),
        own("equipoise, adjoint to 1e-3", _exact(LOOSE), USUAL),
        own("equipoise, cg:10", lambda given: adjoint_by_name("cg:10"), USUAL),
        own("equipoise, Jacobian-free", lambda given: adjoint_by_name("jacobian-free"), USUAL),
        double_backprop("double-backprop MINRES, 1e-3", LOOSE, deepinv=False),
        double_backprop("double-backprop MINRES of deepinv, 1e-3", LOOSE, deepinv=True),
    ]


def _exact(tolerance: float) -> Callable[[Setting], KrylovAdjoint]:
    return lambda given: default_adjoint(given.instance.equation(), tolerance=tolerance)


def _median(
    method: Differentiation, given: Setting, solution: Tensor | None, repeats: int
) -> Derivative:
    """The run of median duration; other packages are run once after a warm-up by ours."""
    ours = method.label.startswith("equipoise")
    if ours:
        method.run(given, solution)
    runs = [method.run(given, solution) for _ in range(repeats if ours else 1)]
    runs.sort(key=lambda each: each.forward_s + each.backward_s)
    return runs[len(runs) // 2]


_COLUMNS = [
    Column("forward", "forward", "s"),
    Column("distance", "error of x", digits=2),
    Column("backward", "backward", "s"),
    Column("products", "products"),
    Column("residual", "adjoint residual", digits=2),
    Column("cosine", "cosine", digits=4),
    Column("error", "relative error", digits=2),
    Column("words", "said"),
]
_NOTE = (
    "Products: with the Jacobian (ours, MINRES) or reverse passes through the field. Adjoint "
    "residual: ||J q - g|| / ||g|| at the x that was used. Cosine and relative error: with the "
    "exact derivative; the potentials' curvature jumps, and float32 cannot decide on which side of "
    "a jump the nearest pixels lie, which limits the agreement. Said: statuses or warnings. "
    "torchdeq returns the residual of its forward iteration in a dictionary and that of the "
    "backward one to a callback, both without a judgement."
)


def _row(label: str, found: Derivative, exact: Exact) -> Row:
    distance = (found.x.double() - exact.x).norm() / exact.x.norm()
    cells: dict[str, Value] = {
        "forward": found.forward_s,
        "distance": float(distance),
        "backward": found.backward_s,
        "products": found.products,
        "residual": found.residual,
        "cosine": exact.cosine(found.gradient),
        "error": exact.error(found.gradient),
        "words": found.words,
    }
    return Row(label, cells)


def _silent(name: str, rows: Sequence[Row]) -> str:
    """Which packages returned a wrong direction without a word."""
    wrong = [
        f"{row.label} (cosine {number(float(row.values['cosine'] or 0.0), 2)})"
        for row in rows
        if row.values["words"] == derivatives.NOTHING and float(row.values["cosine"] or 0.0) < WRONG
    ]
    listed = ", ".join(wrong) or "none"
    return (
        f"{name}: directions with a cosine below {WRONG:g} with the exact one, returned without a "
        f"word: {listed}."
    )


def _costs(weights: Weights, exact: Exact, given: Setting, repeats: int) -> tuple[Table, list[str]]:
    """Products of our adjoint, the cost of one, and the time of double-backprop MINRES."""
    equation = given.instance.equation()
    x = exact.x.to(given.start)
    g = x - given.instance.truth
    linearization = equation.linearize(x)
    times = timing.compare(
        {
            "evaluation": lambda: equation.potential_and_residual(x),
            "product": lambda: linearization.vjp(g),
        },
        repeats=8 * repeats,
        warmup=2,
    )
    share = times["product"].median / times["evaluation"].median
    rows = []
    products: dict[tuple[str, float], int] = {}
    for tolerance in (LOOSE, TIGHT):
        usual = default_adjoint(equation, tolerance=tolerance)
        for label, adjoint in (
            ("default", usual),
            ("conjugate gradients, not preconditioned", _plain(tolerance)),
        ):
            solved = _solve(adjoint, given, x, g)
            products[label, tolerance] = int(solved.evaluations.max())
            cells: dict[str, Value] = {
                "products": products[label, tolerance],
                "residual": float(solved.relative_residual.max()),
                "double": exact.adjoint_residual(x, solved.x),
                "status": solved.statuses[0].name,
            }
            rows.append(Row(f"adjoint to {name_of(tolerance)}, {label}", cells))
    rows += [
        Row("potential and gradient", {"ms": 1e3 * times["evaluation"].median}),
        Row("one product", {"ms": 1e3 * times["product"].median, "ratio": share}),
    ]
    rows += (faster := _against_minres(exact, given, x, g, repeats))
    columns = [
        Column("products", "products"),
        Column("residual", "true residual", digits=2),
        Column("double", "the same in float64", digits=2),
        Column("status", "status"),
        Column("ms", "time", "ms"),
        Column("ratio", "ratio", digits=2),
    ]
    findings = [
        verdict(
            "products until the adjoint's residual is 1e-3", products["default", LOOSE], 50, 40
        ),
        verdict("one product over one potential and gradient", share, 1.2, 1.0),
        *(_faster(row) for row in faster[1:]),
    ]
    note = (
        "At the exact solution. Products include those that verify the residual, which is a true "
        "one of the float32 Jacobian. The times of the "
        "adjoints hold all that they need: the linearisation and the preconditioner, or the graph "
        "of the formula's gradient, which each product differentiates once more. Training code "
        "usually builds that graph anew in each product, as that of Hertrich, Wong, Denker and "
        "others (2025) does; keeping it is faster, and takes the memory of all features. Ratios: "
        "to one evaluation; of MINRES to ours."
    )
    name = f"Denoising, {weights}: the adjoint equation"
    return Table(name, columns, rows, note, "quantity"), findings


def _faster(row: Row) -> str:
    ratio = row.values["ratio"]
    measure = f"time of {row.label} over ours, the same true residual"
    return verdict(measure, ratio if isinstance(ratio, float) else None, 4, 8)


def _plain(tolerance: float) -> KrylovAdjoint:
    linear: LinearSolver = ConjugateGradients(tolerance=tolerance, max_products=1000)
    return KrylovAdjoint(linear, preconditioned=False)


def _solve(adjoint: KrylovAdjoint, given: Setting, x: Tensor, g: Tensor) -> LinearSolution:
    equation = given.instance.equation()
    return adjoint.solve(equation, x, equation.linearize(x).vjp, g, None)


def _against_minres(exact: Exact, given: Setting, x: Tensor, g: Tensor, repeats: int) -> list[Row]:
    """All adjoint solves to a true residual of at most 1e-3, timed by turns; ours first."""
    usual = default_adjoint(given.instance.equation(), tolerance=LOOSE)
    minres = partial(derivatives.minres_twice, given, x, g, LOOSE)
    solvers: dict[str, Callable[[], LinearSolution]] = {
        "our adjoint to 1e-3": lambda: _solve(usual, given, x, g),
        REBUILT: partial(minres, kept=False),
        KEPT: partial(minres, kept=True),
    }
    answers: dict[str, LinearSolution] = {}

    def keeping(label: str) -> Callable[[], None]:
        return lambda: answers.update({label: solvers[label]()})

    times = timing.compare({label: keeping(label) for label in solvers}, repeats=repeats)
    rows = []
    for label, found in answers.items():
        cells: dict[str, Value] = {
            "products": int(found.evaluations.max()),
            "residual": float(found.relative_residual.max()),
            "double": exact.adjoint_residual(x, found.x),
            "status": found.statuses[0].name,
            "ms": 1e3 * times[label].median,
        }
        rows.append(Row(label, cells))
    ours = rows[0]
    for row in rows[1:]:
        reached = answers[row.label].all_converged and answers[ours.label].all_converged
        ratio = times[row.label].median / times[ours.label].median
        row.values["ratio"] = ratio if reached else "not reached"
    return rows


def plot(record: Record, path: Path) -> None:
    """Draw the relative error of each method, its cosine and its time beside it."""
    panels = []
    for table in record.tables:
        if "Denoising, crr, from" not in table.title:
            continue
        bars = []
        for row in table.rows:
            if "error" not in row.values:
                continue
            forward, backward, error, cosine = (
                float(row.values[key] or 0.0) for key in ("forward", "backward", "error", "cosine")
            )
            words = f"cosine {number(cosine, 3)}, {number(forward + backward, 2)} s"
            group = 0 if row.label.startswith("equipoise") else 1
            bars.append(plots.Bar(row.label, error, words, group))
        panels.append(plots.Bars(table.title, "relative error of the hypergradient", bars))
    plots.save(panels, path)
