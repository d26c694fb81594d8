"""Filters from one step of denoising, before any equation is solved.

``x + n - R(x + n)`` shall come close to x for white noise n of one small standard deviation: score
matching (Vincent 2011), which costs one evaluation of R and one derivative a step, so that many
pixels are seen. Potentials and filters for other noise are learned from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.reproduce.states import load_state, save_state
from equipoise.problems.patches import dihedral
from equipoise.problems.symmetries import ELEMENTS
from equipoise.regularizers import Scaled
from equipoise.regularizers.ridge import RidgeRegularizer

#: Seconds between two saves, and between two lines.
SAVE, SAY = 120.0, 60.0
#: Steps over which the learning rate rises, and the share of it that is left in the end.
WARMUP, LEFT = 20, 0.02
#: Decay rates of Adam's means.
BETAS = (0.9, 0.99)
#: Share of a step's error that enters the mean that is told.
SHARE = 0.02


@dataclass(frozen=True)
class Matching:
    """One training by score matching.

    Args:
        seconds: that it may take.
        noise: standard deviation, of images in [0, 1].
        batch_size: patches a step.
        patch_size: their side.
        margin: pixels along their border that do not count, since there images are continued.
        learning_rate: of Adam, falling along half a cosine.
        slope: of the potentials at zero, at the start: one step of denoising needs no more.
    """

    seconds: float
    noise: float = 0.03
    batch_size: int = 8
    patch_size: int = 96
    margin: int = 10
    learning_rate: float = 0.01
    slope: float = 3.0


def match(
    field: Scaled,
    photographs: Sequence[Tensor],
    matching: Matching,
    seed: int,
    state: Path,
    say: Callable[[str], None],
) -> float:
    """Train filters, potentials and scale, the strength held; go on from the state if it is there.

    Args:
        field: a ridge regulariser, trained in place.
        photographs: of shape (C, H, W), values in [0, 1].
        matching: how.
        seed: of patches and noise.
        state: file that is written now and then.
        say: told of progress.

    Returns:
        Seconds that it took.
    """
    ridge = field.regularizer
    assert isinstance(ridge, RidgeRegularizer)
    field.log_strength.requires_grad_(False)
    with torch.no_grad():
        ridge.profile.log_slope.fill_(math.log(matching.slope))
    parameters = [p for p in field.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, betas=BETAS)
    step, seconds, error = 0, 0.0, 0.0
    facts = load_state(state, parameters, optimizer)
    if facts is not None:
        step, seconds, error = facts["step"], facts["seconds"], facts["error"]
        say(f"goes on at step {step} of matching")
    saved_at = said_at = time.perf_counter()
    while seconds < matching.seconds:
        began = time.perf_counter()
        truth, y = _drawn(photographs, matching, seed + step)
        optimizer.zero_grad(set_to_none=True)
        inner = slice(matching.margin, -matching.margin)
        loss = (y - field.field(y) - truth)[..., inner, inner].square().mean()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, seconds / matching.seconds, matching)
        optimizer.step()
        step, found = step + 1, float(loss.detach())
        error += (SHARE if error else 1.0) * (found - error)
        now = time.perf_counter()
        seconds += now - began
        last = seconds >= matching.seconds
        if last or now > said_at + SAY:
            said_at = now
            say(f"matching, step {step}, {seconds:.0f} s: {-10 * math.log10(error):.2f} dB")
        if last or now > saved_at + SAVE:
            saved_at = now
            facts = {"step": step, "seconds": seconds, "error": error}
            save_state(state, parameters, optimizer, facts)
    return seconds


def _drawn(photographs: Sequence[Tensor], matching: Matching, seed: int) -> tuple[Tensor, Tensor]:
    """Patches, turned at random, and the same with noise."""
    generator = torch.Generator().manual_seed(seed)

    def below(most: int) -> int:
        return int(torch.randint(most, (), generator=generator))

    patches = []
    for _ in range(matching.batch_size):
        image, size = photographs[below(len(photographs))], matching.patch_size
        top, left = (below(side - size + 1) for side in image.shape[1:])
        patch = image[None, :, top : top + size, left : left + size]
        patches.append(dihedral(patch, below(len(ELEMENTS))))
    truth = torch.cat(patches)
    return truth, truth + matching.noise * torch.randn(truth.shape, generator=generator)


def _rate(step: int, share: float, matching: Matching) -> float:
    falling = LEFT + (1 - LEFT) * 0.5 * (1 + math.cos(math.pi * share))
    return matching.learning_rate * min(1.0, (step + 1) / WARMUP) * falling
