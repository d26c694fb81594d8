"""Measurements in several parts (deepinv's ``TensorList``) as one tensor, whose data terms add."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import add
from typing import Any

import torch
from deepinv.optim.data_fidelity import L2, DataFidelity, StackedPhysicsDataFidelity
from deepinv.physics import LinearPhysics, StackedPhysics
from deepinv.utils import TensorList
from torch import Tensor, nn

from equipoise.bounds import Bound
from equipoise.data_term import Contrast, DataTerm, data_term
from equipoise.errors import InputError, UsageError
from equipoise.gram import row_norms


class JoinedPhysics(LinearPhysics):
    """A physics that measures several tensors, with one vector for each sample in their place.

    Real and imaginary parts of complex measurements stand beside each other, so that inner products
    and norms are those of the parts together, and the adjoint is the adjoint.

    Args:
        physics: a deepinv linear physics whose measurements are a ``TensorList``.
        y: some measurements of it, for the shapes and dtypes of its parts.
    """

    def __init__(self, physics: LinearPhysics, y: TensorList) -> None:
        super().__init__(device=y[0].device)
        self._whole = (physics,)
        # deepinv keeps the parts in a plain list, where .to() and .buffers() miss them.
        self.stacked = isinstance(physics, StackedPhysics)
        self.parts = nn.ModuleList(physics.physics_list if self.stacked else [physics])
        self._shapes = tuple(tuple(part.shape[1:]) for part in y)
        self._complex = tuple(part.is_complex() for part in y)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """All parts of ``A x`` in one tensor, shape (B, n)."""
        return self.join(self.whole.A(x, **kwargs))

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """``A^T y`` for y of shape (B, n)."""
        return self.whole.A_adjoint(self.split(y), **kwargs)

    @property
    def whole(self) -> LinearPhysics:
        """The physics with several measurements."""
        return self._whole[0]

    @property
    def gram_summands(self) -> tuple[LinearPhysics, ...]:
        """The physics whose ``A^T A`` add up to this one's; none of one that is not stacked."""
        return tuple(self.parts) if self.stacked else ()

    def join(self, y: TensorList | Sequence[Tensor]) -> Tensor:
        """Measurements in parts as one tensor, shape (B, n).

        Raises:
            InputError: if there are not as many parts as the physics has, or of other shapes.
        """
        shapes = tuple(tuple(part.shape[1:]) for part in y)
        if shapes != self._shapes or len({len(part) for part in y}) > 1:
            raise InputError(
                f"The parts of the measurements must have shapes {self._shapes} for each of as "
                f"many samples, got {[tuple(part.shape) for part in y]}."
            )
        real = (torch.view_as_real(part) if part.is_complex() else part for part in y)
        return torch.cat([part.flatten(1) for part in real], 1)

    def split(self, y: Tensor) -> TensorList:
        """The parts of measurements of shape (B, n)."""
        sizes = [
            math.prod(shape) * (2 if is_complex else 1)
            for shape, is_complex in zip(self._shapes, self._complex, strict=True)
        ]
        parts = []
        for part, shape, is_complex in zip(
            y.split(sizes, 1), self._shapes, self._complex, strict=True
        ):
            if is_complex:
                parts.append(torch.view_as_complex(part.reshape(len(y), *shape, 2)))
            else:
                parts.append(part.reshape(len(y), *shape))
        return TensorList(parts)


def joined(physics: LinearPhysics, y: object) -> tuple[LinearPhysics, object]:
    """A physics and its measurements with one tensor in place of several; as they are otherwise.

    Raises:
        InputError: if one tensor is given to a physics of several parts, or parts that do not fit.
    """
    if isinstance(y, (TensorList, list, tuple)) and all(isinstance(part, Tensor) for part in y):
        parts = TensorList(list(y))
        if not isinstance(physics, JoinedPhysics):
            physics = JoinedPhysics(physics, parts)
        return physics, physics.join(parts)
    if isinstance(physics, StackedPhysics) and isinstance(y, Tensor):
        raise InputError(
            f"{type(physics).__name__} measures {len(physics)} tensors: give y as a "
            "deepinv.utils.TensorList of as many."
        )
    return physics, y


class StackedDataTerm(DataTerm):
    """``f(x) = sum_i D_i(A_i x, y_i)`` for the parts of a joined physics.

    Args:
        physics: the joined physics.
        y: all measurements, shape (B, n).
        terms: the data term of each part.
    """

    def __init__(self, physics: JoinedPhysics, y: Tensor, terms: Sequence[DataTerm]) -> None:
        super().__init__(physics, y)
        self.terms = tuple(terms)

    def gradient(self, x: Tensor) -> Tensor:
        """The sum of the gradients."""
        return reduce(add, [term.gradient(x) for term in self.terms])

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum of the energies, shape (B,), and of the gradients."""
        energies, slopes = zip(*(term.energy_and_gradient(x) for term in self.terms), strict=True)
        return reduce(add, energies), reduce(add, slopes)

    def hessian(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The sum of the Hessians."""
        products = [term.hessian(x) for term in self.terms]
        return lambda v: reduce(add, [product(v) for product in products])

    def contrast(self) -> Contrast:
        """The sum of what the parts say, each beyond its own constant."""
        found = [term.contrast() for term in self.terms]
        return Contrast(
            reduce(add, [one.gradient for one in found]),
            torch.stack([one.level for one in found]).mean(0),
            torch.stack([one.spread for one in found]).mean(0),
        )

    def gradient_terms(self, level: Tensor) -> Tensor:
        """The sum of those of the parts."""
        return reduce(add, [term.gradient_terms(level) for term in self.terms])

    def row_norms(self, x: Tensor) -> Tensor | None:
        """As for the squared norm, of the sum of the Hessians."""
        return row_norms(self.hessian(x), x)

    def in_domain(self, x: Tensor) -> Tensor | None:
        """Whether every term is defined."""
        inside = [found for term in self.terms if (found := term.in_domain(x)) is not None]
        return torch.stack(inside).all(0) if inside else None

    @cached_property
    def spectrum(self) -> tuple[Bound, Bound]:
        """Sums of the smallest and of the largest eigenvalues, between which all eigenvalues are.

        The sum of estimates from below of the largest ones may exceed the largest one of the sum.
        """
        lows, highs = zip(*(term.spectrum for term in self.terms), strict=True)
        return reduce(add, lows), reduce(add, highs)

    def multiplier(self, x: Tensor) -> Tensor:
        """The sum of the Fourier multipliers."""
        return reduce(add, [term.multiplier(x) for term in self.terms])

    def shifted_inverse(self, c: float) -> Callable[[Tensor], Tensor] | None:
        """None: the parts have no decomposition in common."""
        return None

    def at(self, keep: Tensor) -> DataTerm | None:
        """The same for some of the samples; None if a part cannot be cut."""
        cut = [part for term in self.terms if (part := term.at(keep)) is not None]
        if len(cut) < len(self.terms):
            return None
        assert isinstance(self.physics, JoinedPhysics)
        return StackedDataTerm(self.physics, self.y[keep], cut)

    def keep(self, other: DataTerm) -> None:
        """Take over what the parts have found out about their physics."""
        assert isinstance(other, StackedDataTerm)
        for term, known in zip(self.terms, other.terms, strict=True):
            term.keep(known)


def term_of(physics: LinearPhysics, y: Tensor, fidelity: DataFidelity | None) -> DataTerm:
    """The data term of a physics, joined or not, and a deepinv data fidelity (None: ``L2()``).

    One fidelity counts for every part; ``StackedPhysicsDataFidelity`` has one for each. The squared
    norm of all parts is that of the joined measurements, and everything known of it holds.

    Raises:
        UsageError: if the fidelity does not fit, see :func:`equipoise.data_term.data_term`.
    """
    several = isinstance(fidelity, StackedPhysicsDataFidelity)
    if not isinstance(physics, JoinedPhysics):
        if several:
            raise UsageError(
                "StackedPhysicsDataFidelity is for measurements in several parts: give the one "
                "fidelity, or a physics made by deepinv.physics.stack."
            )
        return data_term(physics, y, fidelity)
    if fidelity is None or isinstance(fidelity, L2):
        return data_term(physics, y, fidelity)
    if not physics.stacked:
        raise UsageError(
            f"The parts of {type(physics.whole).__name__} cannot be told apart, so that only "
            "the squared norm fits: use a physics made by deepinv.physics.stack."
        )
    count = len(physics.parts)
    fidelities = fidelity.data_fidelity_list if several else [fidelity] * count
    if len(fidelities) != count:
        raise UsageError(f"The physics has {count} parts, but there are {len(fidelities)} terms.")
    parts = zip(physics.parts, physics.split(y), fidelities, strict=True)
    return StackedDataTerm(physics, y, [data_term(*part) for part in parts])


def with_one_measurement(physics: LinearPhysics, image: Tensor) -> LinearPhysics:
    """The physics joined where it measures several tensors, as it is otherwise.

    Args:
        physics: a deepinv linear physics.
        image: one image that it takes, shape (1, C, ...).
    """
    if isinstance(physics, StackedPhysics):
        nn.ModuleList(physics.physics_list).to(image.device)
    try:
        y = physics.A(image)
    except Exception:  # a user's operator may raise anything: whoever checks it says so
        return physics
    return JoinedPhysics(physics, y) if isinstance(y, TensorList) else physics
