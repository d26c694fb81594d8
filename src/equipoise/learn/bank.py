"""A fixed bank of training patches: one measurement each, and where their solves stood last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.equation import Equation
from equipoise.modes import verb
from equipoise.problems import Problem, Symmetry, sample_patches, symmetries
from equipoise.problems.symmetries import inverse, turn
from equipoise.randomness import normal_like
from equipoise.regularizers.base import Regularizer
from equipoise.settings.training import TrainSettings

#: What is kept of a patch's last visit, the most useful first: solution, direction in which its
#: equation was found least monotone, adjoint solution.
WARM_STARTS = ("x", "direction", "q")


@dataclass(frozen=True)
class Visit:
    """Some patches of the bank, each turned by a symmetry of its own, as one step sees them.

    Args:
        rows: which patches, shape (B,), on the CPU.
        turned: the symmetry of each as the number of its effect on images, or None for no turns.
        truth: clean patches, shape (B, C, s, s).
        y: their measurements.
        x: where the lower-level solves start.
        q: where the adjoint solves start; None: at zero.
        direction: where the search for the least monotone direction starts; None: anywhere.
    """

    rows: Tensor
    turned: Tensor | None
    truth: Tensor
    y: Tensor
    x: Tensor
    q: Tensor | None
    direction: Tensor | None


@dataclass
class PatchBank:
    """Patches with their measurements and warm starts, in the orientation they were measured in.

    Args:
        problem: the inverse problem at patch size.
        truth: clean patches, shape (N, C, s, s).
        y: one stored measurement of each, shape (N, ...).
        x: latest lower-level solution (at first the problem's starting point) of the first patches;
            there may be fewer than N, and the others start cold every time.
        q: latest adjoint solution (at first zero) of the first patches.
        direction: direction in which the equation was found least monotone, of the first patches.
    """

    problem: Problem
    truth: Tensor
    y: Tensor
    x: Tensor
    q: Tensor
    direction: Tensor
    _known: Equation | None = field(default=None, init=False, repr=False)

    @property
    def physics(self) -> LinearPhysics:
        """The physics at patch size, the same for every patch."""
        return self.problem.physics

    @cached_property
    def symmetries(self) -> tuple[Symmetry, ...]:
        """Flips and rotations that commute with the physics, the identity first."""
        problem = self.problem
        return symmetries(
            problem.physics, problem.image_shape, dtype=problem.dtype, device=problem.device
        )

    def __len__(self) -> int:
        return len(self.truth)

    def equation(self, regularizer: Regularizer, y: Tensor, alpha: float = 1.0) -> Equation:
        """The equation of measurements of this bank's physics.

        What former equations found out about the physics (spectrum, Fourier multiplier) is kept as
        long as the physics is.
        """
        equation = Equation(self.physics, y, regularizer, alpha)
        if self._known is not None:
            equation.keep(self._known)
        self._known = equation
        return equation

    def visit(self, rows: Tensor, turns: Tensor | None = None, *, warm: bool = True) -> Visit:
        """Take some patches out, with their warm starts.

        Args:
            rows: which patches, shape (B,), on the CPU.
            turns: for each an index into :attr:`symmetries`; None turns nothing.
            warm: whether solves start where the last visit ended.
        """
        truth, y = self.truth[rows], self.y[rows]
        x = q = None
        if warm:
            x = _recalled(self.x, rows, lambda: self.problem.start(y))
            q = _recalled(self.q, rows, lambda: torch.zeros_like(truth))
        x = self.problem.start(y) if x is None else x
        direction = _recalled(self.direction, rows, lambda: any_direction(truth))
        visit = Visit(rows, None, truth, y, x, q, direction)
        return visit if turns is None else self._turned(visit, turns)

    def keep(self, visit: Visit, **latest: Tensor) -> None:
        """Remember what came out of a visit, turned back, for the patches that have room.

        Args:
            visit: the visit.
            latest: tensors shaped like the images of the visit, by their names in ``WARM_STARTS``.
        """
        for name, tensor in latest.items():
            store = getattr(self, name)
            room = visit.rows < len(store)
            if visit.turned is not None:
                back = torch.tensor([inverse(e) for e in visit.turned.tolist()])
                tensor = turn(tensor, back)
            if bool(room.all()):
                store[visit.rows] = tensor
            elif bool(room.any()):
                store[visit.rows[room]] = tensor[room]

    def warm_starts(self) -> dict[str, Tensor]:
        """The tensors that change while training, for a checkpoint."""
        return {name: getattr(self, name) for name in WARM_STARTS}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the tensors of :meth:`warm_starts` back."""
        for name, tensor in tensors.items():
            getattr(self, name).copy_(tensor)

    def _turned(self, visit: Visit, turns: Tensor) -> Visit:
        chosen = [self.symmetries[i] for i in turns.tolist()]
        images = torch.tensor([symmetry.image for symmetry in chosen])
        measurements = torch.tensor([symmetry.measurement for symmetry in chosen])
        named = {name: getattr(visit, name) for name in ("truth", *WARM_STARTS)}
        turned = {name: turn(image, images) for name, image in named.items() if image is not None}
        return replace(visit, turned=images, y=turn(visit.y, measurements), **turned)


@verb
def fill_bank(
    problem: Problem,
    images: list[Tensor],
    *,
    count: int,
    size: int,
    seed: int,
    kept: Sequence[str] = WARM_STARTS,
    budget: int | None = None,
) -> PatchBank:
    """Cut patches (with random flips and rotations), measure each once, set up warm starts.

    These turns are applied before the measurement, so that they are valid for any physics.

    Args:
        problem: the inverse problem at any image size.
        images: training images (C, H, W), at least ``size`` in each direction.
        count: number of patches.
        size: side of a patch in pixels.
        seed: seed of positions, flips and noise.
        kept: which of ``WARM_STARTS`` to keep.
        budget: bytes for all warm starts, or None for no limit. Where they do not fit, adjoints
            are given up first, then directions, then solutions, each from the last patch on.
    """
    generator = torch.Generator().manual_seed(seed)
    device = problem.device
    truth = sample_patches(images, count=count, size=size, generator=generator)
    truth = truth.to(device=device, dtype=problem.dtype)
    local = problem.for_shape(tuple(truth.shape[1:]))
    with torch.no_grad():
        y = local.measure(truth, generator)
        room = _room(kept, budget, count, truth[0].numel() * truth.element_size())
        x = local.start(y[: room["x"]]) if room["x"] else truth[:0].clone()
    directions = normal_like(truth[: room["direction"]], generator)
    return PatchBank(local, truth, y, x, torch.zeros_like(truth[: room["q"]]), directions)


def kept_between_visits(settings: TrainSettings) -> tuple[str, ...]:
    """Which of ``WARM_STARTS`` a training makes use of."""
    warm = settings.warm_start
    wanted = {
        "x": warm and settings.mode != "unrolled",
        "direction": settings.jacobian_penalty > 0,
        "q": warm and settings.mode in ("bilevel", "equilibrium"),
    }
    return tuple(name for name in WARM_STARTS if wanted[name])


def shortage(bank: PatchBank, settings: TrainSettings) -> str | None:
    """Say for how many patches the memory budget leaves no warm start; None if for none."""
    words = {"x": "solutions", "direction": "directions", "q": "adjoints"}
    held = {name: len(getattr(bank, name)) for name in kept_between_visits(settings)}
    if all(number == len(bank) for number in held.values()):
        return None
    listed = ", ".join(f"{words[name]} of {number}" for name, number in held.items())
    return (
        f"Warm starts are kept within {settings.warm_start_bytes / 2**20:.4g} MiB: of "
        f"{len(bank)} patches {listed}; the others start cold (setting warm_start_bytes)."
    )


def _room(kept: Sequence[str], budget: int | None, count: int, each: int) -> dict[str, int]:
    """For how many patches each warm start is kept."""
    left = len(WARM_STARTS) * count * each if budget is None else budget
    room = dict.fromkeys(WARM_STARTS, 0)
    for name in WARM_STARTS:
        if name in kept:
            room[name] = min(count, left // each)
            left -= room[name] * each
    return room


def any_direction(like: Tensor) -> Tensor:
    """The same random image for each of a batch."""
    return normal_like(like[0], 0).expand_as(like).clone()


def _recalled(store: Tensor, rows: Tensor, cold: Callable[[], Tensor]) -> Tensor | None:
    """What is stored of some rows, cold values of those beyond the store; None if that is all."""
    held = rows < len(store)
    if bool(held.all()):
        return store[rows]
    if not bool(held.any()):
        return None
    values = cold()
    values[held] = store[rows[held]]
    return values
