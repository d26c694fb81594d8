"""Threads on a quiet machine and beside other programs.

    python -m benchmarks.threads

Times five training steps (8 patches of 48 x 48, convex ridge) and one solve of 256 x 256 pixels in
processes of their own: with one thread and with all, which wait for each other as OpenMP has it,
sleep at once (``OMP_WAIT_POLICY=PASSIVE``), or look a thousand times before they sleep
(``GOMP_SPINCOUNT=1000``), on the machine as it is and beside one busy loop for each of its
processors. Each number is the least of three.
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
}


WAITING = {
    "usual": {},
    "asleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "shortly": {"GOMP_SPINCOUNT": "1000"},
}


def seconds(work: str, threads: int, waiting: str) -> float:
    """What one process of its own takes."""
    unset = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    others = {name: value for name, value in os.environ.items() if name not in unset}
    given = {"OMP_NUM_THREADS": str(threads), **WAITING[waiting]}
    found = subprocess.run(
        [sys.executable, "-c", WORK[work]],
        env={**others, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout.split()[-1])


def main() -> None:
    """Print one row for each kind of work and of threads."""
    every = torch.get_num_threads()
    kinds = [(1, "usual"), *((every, waiting) for waiting in WAITING)]
    print("work      threads  waiting   quiet (s)  busy (s)")
    for work in WORK:
        for threads, waiting in kinds:
            quiet = min(seconds(work, threads, waiting) for _ in range(TURNS))
            loops = [
                subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(every)
            ]
            try:
                busy = min(seconds(work, threads, waiting) for _ in range(TURNS))
            finally:
                for loop in loops:
                    loop.kill()
            print(f"{work:9} {threads:7}  {waiting:8} {quiet:10.2f} {busy:9.2f}", flush=True)


if __name__ == "__main__":
    main()
