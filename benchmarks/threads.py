"""Threads on a quiet machine and beside other programs.

    python -m benchmarks.threads

Times five training steps (8 patches of 48 x 48, convex ridge), one solve of 256 x 256 pixels and
one of total variation in float64 in processes of their own: with one thread and with all, which
wait for each other as OpenMP has it or look ten thousand times before they sleep
(``GOMP_SPINCOUNT=10000``), and as the program does, which also looks how many threads there is room
for; on the machine as it is and beside one busy loop for each of its processors. Each number is
the least of three.
"""

from __future__ import annotations

import os
import subprocess
import sys

import torch

TURNS = 3
WORK = {
    "training": """
import torch, time
from equipoise.learn import TrainSettings, learn
from equipoise.problems import denoise, photographs
images = photographs(crop=128)
settings = TrainSettings(steps=25, batch_size=8, patch_size=48, patches=32, validate_every=1000)
problem = denoise((1, 48, 48))
result = learn("crr", {}, problem, images.train, images.val[:1], settings, validation_crop=64)
print(result.log.seconds[-1] - result.log.seconds[-6])
""",
    "solve": """
import torch, time
from deepinv.physics import Denoising
from equipoise import Equation, build
from equipoise.solve import solve
torch.manual_seed(0)
y = torch.rand(1, 1, 256, 256)
regularizer = build("crr")
times = []
for _ in range(12):
    started = time.perf_counter()
    solve(Equation(Denoising(), y, regularizer, 0.1), y, tolerance=1e-5)
    times.append(time.perf_counter() - started)
print(min(times))
""",
    "variation": """
import torch, time
from deepinv.physics import Denoising
from equipoise import Equation, build
from equipoise.problems import photographs
from equipoise.solve import solve
truth = torch.stack(photographs(crop=128).val).double()
y = truth + 0.1 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
regularizer = build("tv")
times = []
for _ in range(6):
    started = time.perf_counter()
    solve(Equation(Denoising(), y, regularizer, 0.09), y, tolerance=1e-5)
    times.append(time.perf_counter() - started)
print(min(times))
""",
}
SHORT = {"GOMP_SPINCOUNT": "10000"}
EVERY = str(torch.get_num_threads())
#: What a process is given, and what it does first.
KINDS: dict[str, tuple[dict[str, str], str]] = {
    "one thread": ({"OMP_NUM_THREADS": "1"}, ""),
    "all, as OpenMP waits": ({"OMP_NUM_THREADS": EVERY}, ""),
    "all, waiting shortly": ({"OMP_NUM_THREADS": EVERY, **SHORT}, ""),
    "the program": (SHORT, "from equipoise.threads import leave_room; leave_room()\n"),
}


def seconds(work: str, kind: str) -> float:
    """What one process of its own takes."""
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")
    others = {name: value for name, value in os.environ.items() if name not in unset}
    given, first = KINDS[kind]
    found = subprocess.run(
        [sys.executable, "-c", first + WORK[work]],
        env={**others, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout.split()[-1])


def main() -> None:
    """Print one row for each kind of work and of threads."""
    print(f"{'work':10} {'threads':22} quiet (s)  busy (s)")
    for work in WORK:
        for kind in KINDS:
            quiet = min(seconds(work, kind) for _ in range(TURNS))
            loops = [
                subprocess.Popen([sys.executable, "-c", "while True: pass"])
                for _ in range(int(EVERY))
            ]
            try:
                busy = min(seconds(work, kind) for _ in range(TURNS))
            finally:
                for loop in loops:
                    loop.kill()
            print(f"{work:10} {kind:22} {quiet:9.3f} {busy:9.3f}", flush=True)


if __name__ == "__main__":
    main()
