"""Check that a physics is linear and that its ``A_adjoint`` is the adjoint of its ``A``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.checks import require_positive
from equipoise.convolutions.precision import without_tf32
from equipoise.errors import AdjointError, InputError
from equipoise.modes import verb
from equipoise.physics_state import State

#: Relative defect that is taken for rounding, by dtype. Exact pairs measure up to 1e-6 and 1e-15.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10}
#: Pairs of random vectors; the root mean square of so many is hardly ever far below its mean.
SAMPLES = 16
#: Pairs where an equation is built, which has to be quick: they miss an adjoint that is off by ten
#: times the tolerance once in 100 times, one in float32 that is off by 3 % once in 90,000.
QUICK = 2
#: Units of rounding by which the same operator may answer differently.
REPEATED = 100.0


@dataclass(frozen=True, eq=False)
class Pairings:
    """What a physics makes of random images u and measurements v, always the same ones.

    Args:
        image: shape (B, C, *spatial), dtype and device of the images, as an empty expanded tensor.
        measured: likewise of ``A u``.
        forward: ``<A u, v>`` of each pair and sample, shape (pairs, B), float64.
        backward: ``<u, A' v>``.
        sizes: ``||A u||^2`` and ``||A' v||^2``, shape (2, pairs, B).
    """

    image: Tensor
    measured: Tensor
    forward: Tensor
    backward: Tensor
    sizes: Tensor

    @property
    def defect(self) -> float:
        """By how much A' misses the adjoint, of the worst sample, see :func:`adjoint_defect`."""
        missed = (self.forward - self.backward).square().sum(0)
        ratio = (missed / self.sizes[1].sum(0)).sqrt()
        return float(torch.where(missed == 0, 0.0, ratio).max())

    def first(self, pairs: int) -> Pairings:
        """Some of the pairs."""
        rows = self.forward[:pairs], self.backward[:pairs], self.sizes[:, :pairs]
        return Pairings(self.image, self.measured, *rows)

    def agrees(self, other: Pairings) -> bool:
        """Whether the same operator may have answered, up to rounding."""
        if other.forward.shape != self.forward.shape:
            return False
        slack = REPEATED * torch.finfo(self.image.dtype).eps * self.sizes.sqrt()
        pairs = ((self.forward, other.forward), (self.backward, other.backward))
        near = [(a - b).abs() <= c for (a, b), c in zip(pairs, slack, strict=True)]
        return bool(torch.stack(near).all())


class Checked:
    """A physics in a state in which it has been checked.

    Args:
        physics: the physics.
        state: its state then.
        pairs: what it answered.
    """

    def __init__(self, physics: LinearPhysics, state: State, pairs: Pairings) -> None:
        self.physics, self.state, self.pairs = physics, state, pairs

    def holds(self) -> bool:
        """Whether the physics is still the same operator.

        Where it holds anything else than before (a counter, another noise level), it is asked.
        """
        if self.state.holds():
            return True
        try:
            again, state = pairings(self.physics, self.pairs.image, QUICK)
        except Exception:  # made for other images, say
            return False
        if not self.pairs.agrees(again):
            return False
        self.state = state
        return True


@verb
def adjoint_defect(
    physics: LinearPhysics,
    image_shape: tuple[int, ...],
    dtype: torch.dtype = torch.float32,
    tolerance: float | None = None,
    device: str | torch.device = "cpu",
) -> float:
    """Measure by how much ``A_adjoint`` misses the adjoint ``A^T``; refuse more than rounding.

    Formula: for random normal u, v, ``<A u, v> - <u, A' v> = <u, (A^T - A') v>`` has mean square
    ``||(A^T - A') v||^2`` over u. The defect is its root mean square over several pairs, relative
    to that of ``||A' v||``. Unlike a defect relative to ``||A u|| ||v||`` it does not shrink as
    images grow, so an error of 0.1 % is seen at any size.

    Args:
        physics: a deepinv linear physics.
        image_shape: shape (C, *spatial) of one image.
        dtype: dtype of images; the physics must keep it (measurements may be complex).
        tolerance: largest accepted defect; by default 1e-4 in float32 and 1e-10 in float64.
        device: where the physics is.

    Returns:
        The measured relative defect.

    Raises:
        AdjointError: with the measured defect, if it exceeds the tolerance.
        InputError: if A is not linear, or refuses such images, or changes their precision.
    """
    limit = TOLERANCES[dtype] if tolerance is None else tolerance
    require_positive("tolerance", limit)
    generator = torch.Generator().manual_seed(1)
    like = torch.empty((1, *image_shape), dtype=dtype, device=device)
    u, v = (torch.randn(like.shape, generator=generator, dtype=dtype).to(like) for _ in range(2))
    with torch.no_grad(), without_tf32(like.device):
        _check_shapes(physics, u, dtype)
        _check_linear(physics, u, v, limit)
    found, state = pairings(physics, like, SAMPLES)
    _refuse(physics, found, limit)
    if limit <= TOLERANCES[dtype]:
        _remember(physics, found.first(QUICK), state)
    return found.defect


def checked(physics: LinearPhysics, image: Tensor) -> Checked:
    """The physics in its present state, checked for images of this kind, once per state and kind.

    Args:
        physics: a deepinv linear physics that takes such images.
        image: images of shape (B, C, *spatial), float32 or float64, for shape, dtype and device.
            Where every sample has an operator of its own, B is their number.

    Raises:
        AdjointError: if ``A_adjoint`` is not the adjoint of ``A``, see :func:`adjoint_defect`.
    """
    state, known = _memory(physics).content
    found = known.get(_kind(image)) if state is not None and state.holds() else None
    if state is None or found is None:
        found, present = pairings(physics, image, QUICK)
        _refuse(physics, found, TOLERANCES[image.dtype])
        state = _remember(physics, found, present)
    return Checked(physics, state, found)


def pairings(physics: LinearPhysics, image: Tensor, pairs: int) -> tuple[Pairings, State]:
    """Ask a physics for ``<A u, v>`` and ``<u, A' v>``.

    Returns the answers and the state in which they were given: without what a physics prepares
    when it is used for the first time, and without what it changes by itself when it is used.

    Args:
        physics: a deepinv linear physics.
        image: shape (B, C, *spatial), dtype and device of u; all samples get the same.
        pairs: how many, at least 2.
    """
    generator = torch.Generator().manual_seed(0)

    def random(like: Tensor) -> Tensor:
        one = torch.randn(like.shape[1:], generator=generator, dtype=like.dtype)
        return one.to(like.device).expand(like.shape).contiguous()

    rows = []
    _memory(physics)  # part of the state
    with torch.no_grad(), without_tf32(image.device):
        for k in range(pairs):
            if k == 1:
                state = State({"physics": physics})
            u = random(image)
            Au = physics.A(u)
            v = random(Au)
            back = physics.A_adjoint(v)
            dots = _dot(Au, v), _dot(u, back), _dot(Au, Au), _dot(back, back)
            rows.append(torch.stack(dots))
        _use_with_another_number(physics, u)
    state.settle()
    forward, backward, *sizes = torch.stack(rows, 1).cpu()
    return Pairings(_empty(image), _empty(Au), forward, backward, torch.stack(sizes)), state


def _use_with_another_number(physics: LinearPhysics, u: Tensor) -> None:
    """Use a physics for another number of samples, so that caches for a number show themselves."""
    other = u[:1] if len(u) > 1 else u.expand(2, *u.shape[1:])
    try:
        physics.A_adjoint(physics.A(other))
    except Exception:  # an operator for as many samples as there are
        return


class _Memory:
    """What is known of a physics, kept in its ``__dict__`` so that it goes when the physics goes.

    A weak dictionary would never let go of a physics that refers to itself, in a closure for
    example. Copies and files of the physics start without knowledge.
    """

    __slots__ = ("content",)
    KEY = "_equipoise_checked"

    def __init__(self) -> None:
        self.content: tuple[State | None, dict[Any, Pairings]] = (None, {})

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()  # what comes out of a file must not need this package


def _memory(physics: LinearPhysics) -> _Memory:
    found = vars(physics).setdefault(_Memory.KEY, _Memory())
    state = found.content[0] if isinstance(found, _Memory) else None
    if not isinstance(found, _Memory) or (state and state.roots["physics"] is not physics):
        found = vars(physics)[_Memory.KEY] = _Memory()  # that of a shallow copy, or from a file
    return found


def _remember(physics: LinearPhysics, found: Pairings, present: State) -> State:
    memory = _memory(physics)
    state, known = memory.content
    if state is None or not state.holds():
        state, known = present, {}
        memory.content = state, known
    known[_kind(found.image)] = found
    return state


def _kind(image: Tensor) -> tuple[Any, ...]:
    return tuple(image.shape[1:]), image.dtype, image.device


def _refuse(physics: LinearPhysics, found: Pairings, limit: float) -> None:
    defect = found.defect
    if not defect <= limit:
        raise AdjointError(
            f"A_adjoint of {type(physics).__name__} is not the adjoint of A: relative defect "
            f"{defect:.2g}, accepted {limit:.0e} in {found.image.dtype}. The equation's gradient "
            "would be wrong; use the exact adjoint (for deepinv's Tomography "
            "adjoint_via_backprop=True; in general LinearPhysics(A=A, "
            "img_size=image_shape), which differentiates A)."
        )


def _check_shapes(physics: LinearPhysics, u: Tensor, dtype: torch.dtype) -> None:
    name = type(physics).__name__
    try:
        y = physics.A(u)
        back = physics.A_adjoint(y)
    except Exception as error:  # a user's operator may raise anything
        raise InputError(
            f"{name} does not take images of shape {tuple(u.shape)} and dtype {dtype} "
            f"on {u.device}: {type(error).__name__}: {error}. Problems are solved in float32 and "
            "float64: let A compute in the dtype of its argument, and let the physics hold its "
            "tensors as attributes, which are converted, not inside of functions."
        ) from error
    if back.shape != u.shape:
        raise InputError(
            f"A_adjoint of {name} returns shape {tuple(back.shape)} for images of shape "
            f"{tuple(u.shape)}."
        )
    if back.dtype != dtype or y.real.dtype != dtype:
        raise InputError(
            f"{name} turns {dtype} images into {y.dtype} measurements and these into {back.dtype} "
            f"images: build its filters and masks in {dtype} and return real images."
        )
    if not bool(torch.isfinite(y).all() and torch.isfinite(back).all()):
        raise InputError(f"{name} returns values that are NaN or infinite for a random image.")


def _check_linear(physics: LinearPhysics, u: Tensor, v: Tensor, limit: float) -> None:
    """Compare ``A(u + 2 v)`` with ``A u + 2 A v``."""
    apart = physics.A(u) + 2 * physics.A(v)
    missed = (physics.A(u + 2 * v) - apart).abs().double().norm()
    size = apart.abs().double().norm()
    if not bool(missed <= limit * size):
        raise InputError(
            f"{type(physics).__name__} is not linear: A(u + 2 v) differs from A u + 2 A v by "
            f"{float(missed / size):.2g} relative. Only linear physics without offset or "
            "randomness in A fit the equation."
        )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """``<a_i, b_i>`` of each sample summed in float64 (real part for complex tensors)."""
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    return (a.double() * b.double()).flatten(1).sum(1)


def _empty(like: Tensor) -> Tensor:
    """Shape, dtype and device without memory."""
    return torch.empty((), dtype=like.dtype, device=like.device).expand(like.shape)
