"""For which potentials ``torch.compile`` makes the pointwise part of an evaluation faster.

The library compiles that of ridge regularisers where it is asked to: this table is why, and why no
others. Measured on one tile of features as evaluations hold them; results of both are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import timing
from benchmarks.instances import ridge
from benchmarks.machine import device
from benchmarks.record import Column, Row, Table, Value
from equipoise.convolutions.tiles import plan
from equipoise.regularizers.profiles import LogCosh, Profile, StudentT

#: Pixels and channels of a tile.
EDGE, FEATURES = 96, 64


def compiled_table(repeats: int) -> Table:
    """Time slopes with energies, plain and compiled, on a tile of features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, FEATURES, EDGE, EDGE, generator=generator).to(device())
    features = 0.1 * features.contiguous(memory_format=torch.channels_last)
    profiles: dict[str, Profile] = {
        "crr": ridge("crr").profile,
        "wcrr": ridge("wcrr").profile,
        "student-t": StudentT(),
        "tanh": LogCosh(),
    }
    return Table(
        title=f"Potential and slope of one tile, {FEATURES} features of {EDGE} x {EDGE}",
        columns=[
            Column("plain", "plain", "ms"),
            Column("compiled", "torch.compile", "ms"),
            Column("gain", "plain over compiled"),
            Column("seconds", "to compile", "s"),
            Column("difference", "largest difference", digits=2),
        ],
        rows=[_row(name, profile, features, repeats) for name, profile in profiles.items()],
        note="Only ridge potentials (crr, wcrr) are compiled in the library, on request.",
        subject="potential",
    )


def _row(name: str, profile: Profile, features: Tensor, repeats: int) -> Row:
    point = profile.frozen()
    (tile,) = plan(1, (EDGE, EDGE), (2, 2), 1, EDGE * EDGE)

    scratch = features.clone()

    def plain() -> tuple[Tensor, Tensor]:
        return point.energy_and_slope(scratch.copy_(features), tile)

    compiled: Callable[[], tuple[Tensor, Tensor]] = torch.compile(plain)
    with torch.no_grad():
        began = time.perf_counter()
        try:
            first = compiled()
        except Exception as error:  # no compiler, or one that fails
            words = f"not compiled: {type(error).__name__}"
            return Row(name, {"plain": _median(plain, repeats), "compiled": words})
        spent = time.perf_counter() - began
        pairs = zip(first, plain(), strict=True)
        difference = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
        took = timing.compare({"plain": plain, "compiled": compiled}, repeats=repeats, burst=5)
    values: dict[str, Value] = {key: 1e3 * each.median for key, each in took.items()}
    gain = took["plain"].median / took["compiled"].median
    return Row(name, {**values, "gain": gain, "seconds": spent, "difference": difference})


def _median(function: Callable[[], object], repeats: int) -> float:
    return 1e3 * timing.measure(function, repeats=repeats).median
