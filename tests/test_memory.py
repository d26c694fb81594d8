"""Evaluations must not map their buffers anew each time."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import resource, torch
torch.set_num_threads(1)
from equipoise.regularizers import build
torch.manual_seed(0)
r = build("wcrr", filters=(4, 8, 64))
x = torch.rand(1, 1, 320, 320)
frozen = r.frozen()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        frozen.potential_and_value(x)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 4
faults()
print(faults() * resource.getpagesize())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of Linux")
def test_evaluations_reuse_their_memory() -> None:
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=True
    )
    features = 64 * 320 * 320 * 4  # a tenth of them at a time
    assert float(run.stdout) < 0.1 * features
