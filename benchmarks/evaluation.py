"""Table 1: cost of one evaluation, against the rate of convolutions and the straightforward code.

All operations of one size are timed by turns in one run. Operations are counted by the formula in
``straightforward.flops``; shares are of the rate of a 64 -> 64 3 x 3 convolution on images of the
same size, measured in the same run, in the faster of the two memory formats.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from benchmarks import machine, plots, timing
from benchmarks.compiled import compiled_table
from benchmarks.findings import verdict
from benchmarks.instances import Weights, of_images, patches, photographs, pose, ridge, tiled
from benchmarks.rates import Rates, measure_rates
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.straightforward import Straightforward, flops, straightforward, traffic
from benchmarks.tables import number
from equipoise.convolutions.compiling import use_compiler
from equipoise.equation import Equation
from equipoise.regularizers import build
from equipoise.solve import solve

#: Widths and kernel size of the published chain.
WIDTHS, KERNEL = (1, 4, 8, 64), 5
#: Labels of rows.
WRITTEN = "straightforward, gradient written out"
AUTOGRAD = "straightforward, gradient by autograd"
EVALUATION, RESIDUAL, LINEARIZE = "potential and gradient", "gradient alone", "linearisation"
PRODUCT, REBUILD, APPLY = "Hessian product", "preconditioner, made anew", "preconditioner, applied"
#: Rows of what ``torch.compile`` makes faster: label -> the operation.
COMPILED = {f"{key}, compiled": key for key in (EVALUATION, LINEARIZE)}
#: Operations that prepare others: no work of an evaluation, no value to compare.
WITHOUT_VALUE = (LINEARIZE, REBUILD, APPLY)
#: Other regularisers of the catalogue: name -> arguments.
OTHERS: dict[str, dict[str, Any]] = {
    "tied-conv": {"filters": 12},
    "fields-of-experts": {},
    "untied-conv": {"filters": 12},
    "contractive": {},
}
SIGMA = 0.1

_COLUMNS = [
    Column("ms", "median", "ms"),
    Column("fastest", "fastest", "ms"),
    Column("gflops", "rate", "GFLOP/s"),
    Column("share", "of the convolution's rate", "%"),
    Column("faster", "straightforward over this"),
    Column("relative", "over one evaluation"),
    Column("error", "difference to float64", digits=2),
]


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Measure evaluations of the published regularisers and of others of the catalogue."""
    began = time.perf_counter()
    repeats = 4 if short else 8
    tables: list[Table] = []
    findings: list[str] = []
    on_gpu = machine.device().type == "cuda"
    for truth, name in _images(short, on_gpu):
        batch, _, height, width = truth.shape
        say(f"rates for {name}")
        rates = measure_rates(batch, height, width, repeats)
        tables.append(_rates_table(rates, name, batch * height * width))
        for weights in get_args(Weights):
            say(f"{weights}, {name}")
            table = _measure(weights, truth, rates, repeats, name)
            tables.append(table)
            findings += _findings(table, weights, name, rates)
    say("other regularisers")
    tables.append(_others(photographs("bsd68", 1, 256)[0][None], repeats))
    if not short:
        say("torch.compile")
        tables.append(compiled_table(repeats))
    if on_gpu:
        say("solves per second")
        tables.append(_solves(repeats))
    return Record(
        name="evaluation",
        question="What does one evaluation cost, and how near is that to the machine's limit?",
        settings={
            "images": "set12 and bsd68",
            "sigma": SIGMA,
            "seed": 0,
            "turns": f"{repeats} of 3 calls",
            "dtype": "float32",
        },
        machine=machine.describe(),
        tables=tables,
        findings=findings,
        seconds=time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw the times of the first size, one panel for each regulariser."""
    chosen = [table for table in record.tables if table.title.startswith(get_args(Weights))]
    floor = next(row for row in record.tables[0].rows if row.label == _FLOOR).values["ms"]
    assert isinstance(floor, float)
    panels = []
    for table in chosen[:2]:
        bars = [
            plots.Bar(row.label, _number(row.values["ms"]), group=int(i > 1))
            for i, row in enumerate(table.rows)
        ]
        panels.append(plots.Bars(table.title, "ms", bars, [(floor, "at the convolution's rate")]))
    plots.save(panels, path)


def _images(short: bool, on_gpu: bool) -> list[tuple[Tensor, str]]:
    """Batches of images to measure on, each with its name."""
    whole = photographs("bsd68", 1)[0]
    if whole.shape[1] > whole.shape[2]:
        whole = whole.mT
    sizes = [(whole[None, :, :320, :480].contiguous(), "one image of 480 x 320")]
    if not short:
        sizes.append((photographs("bsd68", 1, 256)[0][None], "one image of 256 x 256"))
    if on_gpu:
        sizes.append((patches(128, 64), "128 images of 64 x 64"))
        sizes.append((tiled(2048, 2048)[None], "one image of 2048 x 2048"))
    return sizes


_FLOOR = "operations of one evaluation at the convolution's rate"


def _rates_table(rates: Rates, name: str, pixels: int) -> Table:
    operations, moved = flops(WIDTHS, KERNEL, pixels), traffic(WIDTHS, pixels)
    rows = [
        Row("64 -> 64 3 x 3 convolution, contiguous", {"gflops": rates.contiguous / 1e9}),
        Row("64 -> 64 3 x 3 convolution, channels-last", {"gflops": rates.channels_last / 1e9}),
        Row("float32 matrix product", {"gflops": rates.matrix / 1e9}),
        Row("copy of 256 MiB, read and written", {"gbytes": rates.bandwidth / 1e9}),
        Row(_FLOOR, {"ms": 1e3 * operations / rates.convolution}),
        Row("its layers moved through memory once", {"ms": 1e3 * moved / rates.bandwidth}),
    ]
    if rates.matrix_tf32 is not None:
        rows.insert(3, Row("TF32 matrix product", {"gflops": rates.matrix_tf32 / 1e9}))
    return Table(
        title=f"What the machine can do, {name}",
        columns=[
            Column("gflops", "rate", "GFLOP/s"),
            Column("gbytes", "bandwidth", "GB/s"),
            Column("ms", "time", "ms"),
        ],
        rows=rows,
        note=f"One evaluation counts {operations / 1e9:.2f} GFLOP and {moved / 1e6:.0f} MB.",
        subject="limit",
    )


def _measure(weights: Weights, truth: Tensor, rates: Rates, repeats: int, name: str) -> Table:
    item = of_images("denoise", truth, ridge(weights), name=name, sigma=SIGMA)
    plain, equation, y = straightforward(weights), item.equation(), item.y
    x = truth
    v = (y - truth) / SIGMA
    calls = _operations(equation, x, v)
    calls |= {label: _with_compiler(calls[key]) for label, key in COMPILED.items()}
    peers: dict[str, Callable[[], Any]] = {
        WRITTEN: lambda: (plain.potential(x), plain.gradient(x)),
        AUTOGRAD: lambda: (plain.potential(x), plain.gradient_by_autograd(x)),
    }
    with torch.no_grad():
        took = timing.compare({**peers, **calls}, repeats=repeats, warmup=2, burst=3, limit_s=90)
        errors = _errors(weights, equation, plain, x, v)
        compiled = _errors(weights, equation, plain, x, v, compiler=True)
        errors |= {label: compiled[key] for label, key in COMPILED.items() if key in compiled}
    operations = flops(WIDTHS, KERNEL, x.numel())
    rows = []
    for label, spent in took.items():
        values: dict[str, Value] = {
            "ms": 1e3 * spent.median,
            "fastest": 1e3 * spent.low,
            "relative": spent.median / took[EVALUATION].median,
            "error": errors.get(label),
        }
        if COMPILED.get(label, label) not in WITHOUT_VALUE:
            values["gflops"] = operations / spent.median / 1e9
            values["share"] = 100 * operations / spent.median / rates.convolution
        if COMPILED.get(label, label) in (EVALUATION, AUTOGRAD):
            values["faster"] = took[WRITTEN].median / spent.median
        rows.append(Row(label, values))
    return Table(
        title=f"{weights}, {name}",
        columns=_COLUMNS,
        rows=rows,
        note="The difference is the largest one of potential and gradient (or product) to the "
        "straightforward formula in float64, relative to the largest value; a linearisation only "
        "computes the curvatures that its products use.",
        subject="operation",
    )


def _operations(equation: Equation, x: Tensor, v: Tensor) -> dict[str, Callable[[], Any]]:
    """Our operations on an equation with all its constants computed."""
    calls: dict[str, Callable[[], Any]] = {}
    if equation.gradient_field:
        calls[EVALUATION] = lambda: equation.potential_and_residual(x)
    calls[RESIDUAL] = lambda: equation.residual(x)
    calls[LINEARIZE] = lambda: equation.linearize(x)
    jvp = equation.linearize(x).jvp
    calls[PRODUCT] = lambda: jvp(v)
    inverse = equation.preconditioner(x)
    if inverse is not None:
        calls[REBUILD] = lambda: equation.preconditioner(x)
        calls[APPLY] = lambda: inverse(v)
    return calls


def _errors(
    weights: Weights,
    equation: Equation,
    plain: Straightforward,
    x: Tensor,
    v: Tensor,
    *,
    compiler: bool = False,
) -> dict[str, float]:
    """Largest relative difference of each operation's result to the formula in float64."""
    exact = straightforward(weights, torch.float64)
    wide, direction, y = x.double(), v.double(), equation.y.double()
    r, gradient, product = (
        exact.potential(wide),
        exact.gradient(wide),
        exact.product(wide, direction),
    )
    energy = r + 0.5 * (wide - y).square().sum((1, 2, 3))
    residual = gradient + wide - y
    use_compiler(compiler)
    value, field = equation.potential_and_residual(x)
    linear = equation.linearize(x)
    use_compiler(None)
    return {
        WRITTEN: max(_difference(plain.potential(x), r), _difference(plain.gradient(x), gradient)),
        AUTOGRAD: _difference(plain.gradient_by_autograd(x), gradient),
        EVALUATION: max(_difference(value, energy), _difference(field, residual)),
        RESIDUAL: _difference(equation.residual(x), residual),
        PRODUCT: _difference(linear.jvp(v), product + direction),
    }


def _with_compiler(call: Callable[[], Any]) -> Callable[[], Any]:
    def compiled() -> Any:
        use_compiler(True)
        try:
            return call()
        finally:
            use_compiler(None)

    return compiled


def _difference(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max() / exact.abs().max())


def _findings(table: Table, weights: Weights, name: str, rates: Rates) -> list[str]:
    cells = {row.label: row.values for row in table.rows}
    ours, product = cells[EVALUATION], cells[PRODUCT]
    compiled = cells[f"{EVALUATION}, compiled"]
    share, gflops = _number(ours["share"]), _number(ours["gflops"])
    where = f"{weights}, {name}"
    if machine.device().type == "cuda" and not name.endswith("480 x 320"):
        assert gflops is not None
        peak = 100 * gflops * 1e9 / rates.matrix
        return [verdict(f"Share of the float32 peak, {where}", peak, 35, 60, " %")]
    measured_here = f"{where}: {number(_number(ours['ms']) or 0.0)} ms"
    return [
        verdict(f"Share of the convolution's rate, {measured_here}", share, 45, 65, " %"),
        verdict(f"Straightforward over ours, {where}", _number(ours["faster"]), 4, 8, "x"),
        verdict(
            f"Straightforward over ours compiled, {where}", _number(compiled["faster"]), 4, 8, "x"
        ),
        verdict(
            f"Hessian product over evaluation, {where}", _number(product["relative"]), 1.2, 1.0, "x"
        ),
    ]


def _others(truth: Tensor, repeats: int) -> Table:
    """Other regularisers of the catalogue: what their operations cost next to an evaluation."""
    problem = pose("denoise", (truth.shape[2], truth.shape[3]), SIGMA)
    y = problem.measure(truth, torch.Generator().manual_seed(0))
    v = (y - truth) / SIGMA
    rows = []
    for name, arguments in OTHERS.items():
        torch.manual_seed(0)
        regularizer = build(name, **arguments).to(machine.device())
        calls = _operations(Equation(problem.physics, y, regularizer), y, v)
        took = timing.compare(calls, repeats=repeats, warmup=2, burst=3, limit_s=30)
        spent: dict[str, Value] = {key: 1e3 * each.median for key, each in took.items()}
        base = took.get(EVALUATION, took[RESIDUAL]).median
        label = ", ".join([name, *(f"{key} {value}" for key, value in arguments.items())])
        rows.append(Row(label, {**spent, "relative": took[PRODUCT].median / base}))
    keys = (EVALUATION, RESIDUAL, LINEARIZE, PRODUCT, REBUILD, APPLY)
    columns = [*(Column(key, key, "ms") for key in keys)]
    return Table(
        title="Other regularisers, one image of 256 x 256",
        columns=[*columns, Column("relative", "product over evaluation")],
        rows=rows,
        note="Without a potential, products are compared with the residual alone. New weights.",
        subject="regulariser",
    )


def _solves(repeats: int) -> Table:
    """Denoising solves to a relative residual of 1e-4 per second."""
    return Table(
        title="Solves per second, crr, relative residual 1e-4",
        columns=[
            Column("rate", "images per second"),
            Column("evaluations", "evaluations at most"),
            Column("converged", "all converged"),
        ],
        rows=[
            _solve_row(patches(128, 64), "128 of 64 x 64", repeats),
            _solve_row(tiled(2048, 2048)[None], "one of 2048 x 2048", repeats),
        ],
        subject="images",
    )


def _solve_row(truth: Tensor, name: str, repeats: int) -> Row:
    item = of_images("denoise", truth, ridge("crr"), name=name, sigma=SIGMA)
    equation, start = item.equation(), item.start()
    took = timing.measure(lambda: solve(equation, start, tolerance=1e-4), repeats=repeats)
    solution = solve(equation, start, tolerance=1e-4)
    values: dict[str, Value] = {
        "rate": len(truth) / took.median,
        "evaluations": int(solution.evaluations.max()),
        "converged": solution.all_converged,
    }
    return Row(name, values)


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
