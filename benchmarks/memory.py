"""Table 6: peak memory of an evaluation, a solve, a hypergradient and a training step.

Every case runs in a process of its own: first on a tiny image, so that libraries and caches are
there, then on the size that is measured. Counted is the largest resident memory of that run (on an
accelerator: the largest allocated memory) less what was resident before it, inputs included.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import machine, plots
from benchmarks.instances import Instance, data_folder, of_images, patches, ridge, tiled
from benchmarks.isolated import TOO_LARGE, isolated
from benchmarks.record import Column, Record, Row, Table, Value
from benchmarks.straightforward import Straightforward, straightforward
from benchmarks.tables import number
from equipoise.differentiate import attach_gradient
from equipoise.errors import UsageError
from equipoise.reconstructor import EquilibriumReconstructor
from equipoise.solve import solve

#: Sides of the images; those of unrolled iterations are the first one only.
SIDES = {True: (128,), False: (256, 1024)}
#: Side of the image that loads the libraries.
TINY = 32
#: Images of a training step, and their side.
BATCH, PATCH = {True: 8, False: 64}, 64
#: Relative residual of solves and adjoint solves.
TOLERANCE = 1e-4
#: Step of unrolled iterations; its size has no influence on memory.
STEP = 1e-4

Case = Callable[[Instance], Any]


def run(short: bool, say: Callable[[str], None]) -> Record:
    """Measure the peak memory of each case and size.

    Raises:
        UsageError: if the data are absent.
    """
    for needed in ("set12", "ridge_weights"):  # here, not in the first of the processes
        data_folder(needed)
    began = time.perf_counter()
    rows = []
    for name in CASES:
        values: dict[str, Value] = {}
        for side in SIDES[short]:
            if name in UNROLLED and side != SIDES[short][0]:
                continue
            say(f"{name}, {side} x {side}")
            values |= _cells(side, isolated("memory", "measure_image", case=name, side=side))
        rows.append(Row(name, values))
    count = BATCH[short]
    steps = []
    for name in STEPS:
        say(f"{name}, {count} images of {PATCH} x {PATCH}")
        found = isolated("memory", "measure_step", case=name, count=count)
        steps.append(Row(name, _cells(PATCH, found)))
    return Record(
        name="memory",
        question="How much memory is needed at most?",
        settings={
            "task": "denoise",
            "regulariser": "crr",
            "dtype": "float32",
            "relative residual of solves": TOLERANCE,
            "seed": 0,
        },
        machine=machine.describe(),
        tables=[
            Table(
                title="One image",
                columns=_columns(SIDES[short]),
                rows=rows,
                note="Peak above what was resident before, in bytes and as float32 numbers per "
                "pixel (one image is 1). Unrolled steps only at the smallest size.",
            ),
            Table(
                title=f"One step of training on {count} images of {PATCH} x {PATCH}",
                columns=_columns((PATCH,)),
                rows=steps,
                note="Solve, loss, gradient of all parameters, one step of Adam.",
            ),
        ],
        findings=_findings(rows, SIDES[short][0]) + _findings(steps, PATCH),
        seconds=time.perf_counter() - began,
    )


def plot(record: Record, path: Path) -> None:
    """Draw the numbers per pixel of every case, at the first size."""
    panels = []
    for table in record.tables:
        key = next(column.key for column in table.columns if column.key.startswith("floats"))
        bars = [
            plots.Bar(row.label, _float(row.values.get(key)), "", int("straight" not in row.label))
            for row in table.rows
        ]
        panels.append(plots.Bars(table.title, "float32 numbers per pixel", bars))
    plots.save(panels, path)


def measure_image(case: str, side: int) -> dict[str, float]:
    """Peak of a case on one square image."""
    return _peak(CASES[case], lambda size: tiled(size, size)[None], TINY, side)


def measure_step(case: str, count: int) -> dict[str, float]:
    """Peak of one step of training on a batch of patches."""
    return _peak(STEPS[case], lambda size: patches(size, PATCH), 1, count)


def _peak(case: Case, images: Callable[[int], Tensor], tiny: int, size: int) -> dict[str, float]:
    with torch.no_grad():
        warm = of_images("denoise", images(tiny), ridge("crr"), name="")
        item = of_images("denoise", images(size), ridge("crr"), name="")
    case(warm)
    before = _reset()
    case(item)
    return {"bytes": float(_highest() - before), "pixels": float(item.truth.numel())}


def _reset() -> int:
    """Forget the peak so far; bytes in use now."""
    if machine.device().type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError as error:
        raise UsageError("Peak memory is measured on Linux or on an accelerator only.") from error


def _highest() -> int:
    """Largest number of bytes in use since :func:`_reset`."""
    if machine.device().type == "cuda":
        return torch.cuda.max_memory_allocated()
    return _status("VmHWM")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


# ---- the cases -------------------------------------------------------------------------------


def _plain_evaluation(item: Instance) -> None:
    plain = straightforward("crr")
    plain.potential(item.truth)
    plain.gradient_by_autograd(item.truth)


def _evaluation(item: Instance) -> None:
    item.equation().potential_and_residual(item.truth)


def _solve(item: Instance) -> Tensor:
    return solve(item.equation(), item.start(), tolerance=TOLERANCE).x


def _hypergradient(item: Instance) -> None:
    """The adjoint solve and the gradient of all parameters at a given image."""
    x = attach_gradient(item.equation(), item.truth)
    (x - item.y).square().sum().backward()


def _unrolled(steps: int) -> Case:
    def case(item: Instance) -> None:
        plain = _learnable(straightforward("crr"))
        x = _unroll(plain, item.y, steps)
        torch.autograd.grad((x - item.truth).square().sum(), plain.filters)

    return case


def _unroll(plain: Straightforward, y: Tensor, steps: int) -> Tensor:
    x = y
    for _ in range(steps):
        x = x - STEP * (x - y + plain.gradient(x))
    return x


def _learnable(plain: Straightforward) -> Straightforward:
    for kernel in plain.filters:
        kernel.requires_grad_()
    return plain


def _training_step(item: Instance) -> None:
    model = EquilibriumReconstructor(item.regularizer, item.alpha)
    optimizer = torch.optim.Adam(item.regularizer.parameters(), lr=1e-3)
    loss = (model(item.y, item.problem.physics) - item.truth).square().mean()
    loss.backward()
    optimizer.step()


def _unrolled_step(steps: int) -> Case:
    def case(item: Instance) -> None:
        plain = _learnable(straightforward("crr"))
        optimizer = torch.optim.Adam(plain.filters, lr=1e-3)
        (_unroll(plain, item.y, steps) - item.truth).square().mean().backward()
        optimizer.step()

    return case


#: Cases that keep every step for the derivative.
UNROLLED: dict[str, Case] = {
    f"hypergradient, {steps} unrolled steps, straightforward": _unrolled(steps)
    for steps in (10, 50)
}
CASES: dict[str, Case] = {
    "evaluation, straightforward with autograd": _plain_evaluation,
    "evaluation": _evaluation,
    "solve": _solve,
    "hypergradient": _hypergradient,
    **UNROLLED,
}
STEPS: dict[str, Case] = {
    "training step": _training_step,
    "training step, 10 unrolled steps, straightforward": _unrolled_step(10),
    "training step, 50 unrolled steps, straightforward": _unrolled_step(50),
}


def _columns(sides: tuple[int, ...]) -> list[Column]:
    columns = []
    for side in sides:
        columns.append(Column(f"mib{side}", f"{side} x {side}", "MiB"))
        columns.append(Column(f"floats{side}", f"{side} x {side}", "numbers/pixel"))
    return columns


def _cells(side: int, found: dict[str, Any] | None) -> dict[str, Value]:
    if found is None:
        return {f"mib{side}": TOO_LARGE}
    each = found["bytes"] / found["pixels"] / 4
    return {f"mib{side}": found["bytes"] / 2**20, f"floats{side}": each}


def _findings(rows: list[Row], side: int) -> list[str]:
    """What the straightforward ways need over ours, whose labels are what theirs begin with."""
    cells = {row.label: _float(row.values.get(f"mib{side}")) for row in rows}
    sentences = []
    for label, theirs in cells.items():
        ours = cells.get(label.partition(",")[0])
        if "straightforward" in label and theirs is not None and ours:
            times = number(theirs / ours, 2)
            sentences.append(f"{label}: {times} times the memory of ours at {side} x {side}.")
    return sentences


def _float(value: Value) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
