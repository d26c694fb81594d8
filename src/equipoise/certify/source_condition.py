"""The source condition ``R(x) = A^T w``: its element, its defect, and the loss made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.certify.rounding import allowance, length, product
from equipoise.errors import InputError
from equipoise.gram import Gram, SpectralCalculus
from equipoise.linear import ConjugateGradients
from equipoise.modes import verb
from equipoise.vectors import dot, expand, scaled

#: The smallest beta relative to ||A||^2 for which conjugate gradients still work well.
USABLE_BETA = {torch.float32: 1e-4, torch.float64: 1e-6}


@dataclass(frozen=True, eq=False)
class SourceElement:
    """``r = A^T w + residual`` with w small, and what it says of ``S_beta(r)``.

    Args:
        w: the element, shape of the measurements.
        residual: ``r - A^T w``, shape of r.
        beta: the weight of ``||w||^2``, shape (B,); 0 for the least-norm element.
        value: ``||r - A^T w||^2 + beta ||w||^2``, shape (B,), float64; equals ``S_beta(r)`` if
            exact.
        lower: proved lower end of ``S_beta(r)``, rounding included, shape (B,), float64.
        upper: proved upper end, shape (B,), float64.
        exact: whether a decomposition of the physics gave w; otherwise conjugate gradients did.
    """

    w: Tensor
    residual: Tensor
    beta: Tensor
    value: Tensor
    lower: Tensor
    upper: Tensor
    exact: bool

    @property
    def w_norm(self) -> Tensor:
        """``||w||``, shape (B,), float64."""
        return length(self.w)

    @property
    def residual_norm(self) -> Tensor:
        """``||r - A^T w||``, shape (B,), float64."""
        return length(self.residual)


@dataclass(frozen=True, eq=False)
class SourceSolver:
    """``S_beta(r) = min_w ||r - A^T w||^2 + beta ||w||^2``, prepared once, evaluated often.

    Decomposable physics (masks, circular blur, single-coil MRI) are evaluated in closed form in
    their basis, any other by conjugate gradients on ``(A^T A + beta I) z = r``, ``w = A z``. A
    decomposition is tried once and kept: make another solver when the physics changes.

    Args:
        physics: deepinv linear physics A.
        like: images, shape (B, C, ...): shape per sample, dtype and device of all later r.
        beta: positive, a number or one for each sample; ``alpha mu / weight`` makes the loss the
            bias of the reconstruction (theory, Thm 7).
        solver: tolerance and limit of conjugate gradients. The gradient of the loss is wrong by
            at most ``2 * tolerance * ||r||``.

    Raises:
        InputError: if beta is not positive and finite, or ``like`` is no batch of images.
    """

    physics: LinearPhysics
    like: Tensor
    beta: float | Tensor
    solver: ConjugateGradients = field(default_factory=ConjugateGradients)

    def __post_init__(self) -> None:
        beta = torch.as_tensor(self.beta)
        if beta.dim() > 1 or not bool((torch.isfinite(beta) & (beta > 0)).all()):
            raise InputError(
                "beta must be a positive number or one for each sample, shape (B,), "
                f"got {beta.tolist()}."
            )
        _check_image(self.like)

    @cached_property
    def _gram(self) -> Gram:
        return Gram(self.physics, self.like)

    @property
    def calculus(self) -> SpectralCalculus | None:
        """Functions of ``A^T A``, where the physics is decomposable."""
        return self._gram.calculus

    def loss(self, r: Tensor) -> Tensor:
        """Compute ``S_beta(r)``, differentiable in r once.

        Formula: gradient ``2 (r - A^T w)``; w is detached, because w minimises (theory,
        section 7). Where conjugate gradients stop early the value is that of their w, an upper
        bound.

        Args:
            r: ``R(x)``, shape (B, C, ...), with or without a graph.

        Returns:
            Tensor of shape (B,) in r's dtype.

        Raises:
            InputError: if r does not match ``like``.
        """
        self._check(r)
        fixed = r.detach()
        with torch.no_grad():
            if self.calculus is not None:
                residual = self.calculus.apply(_remaining, fixed, self.beta)
                value = dot(fixed, residual)
            else:
                _, w, residual = self._iterate(fixed)
                value = dot(residual, residual) + self._beta(fixed) * dot(w, w)
        return value + 2.0 * dot(r - fixed, residual)

    def element(self, r: Tensor) -> SourceElement:
        """Compute w, ``r - A^T w`` and the proved bracket of ``S_beta(r)`` (theory, section 7).

        Formula: for any z, ``w = A z`` and ``q = r - (A^T A + beta I) z``,
        ``||r - A^T w||^2 + beta ||w||^2 - ||q||^2 <= S_beta <= ||r - A^T w||^2 + beta ||w||^2``.

        Args:
            r: ``R(x)``, shape (B, C, ...).

        Raises:
            InputError: if r does not match ``like``.
        """
        self._check(r)
        r, beta = r.detach(), self._beta(r).double()
        with torch.no_grad():
            if self.calculus is not None:
                z = self.calculus.apply(lambda s, c: 1.0 / (s.square() + c), r, self.beta)
                residual = self.calculus.apply(_remaining, r, self.beta)
                # The root of the filter loses less to rounding than <r, r - A^T w> does.
                root = length(self.calculus.apply(lambda s, c: _remaining(s, c).sqrt(), r, beta))
                w, defect = self.physics.A(z), torch.zeros_like(root)
                slack = _slack(r, w, float(self.calculus.values.max()))
            else:
                z, w, residual = self._iterate(r)
                root = (product(residual, residual) + beta * product(w, w)).sqrt()
                slack = _slack(r, w, self._norm)
                defect = length(residual - scaled(beta, z)) + slack
        exact = self.calculus is not None
        return SourceElement(w, residual, beta, *_bracket(root, slack, defect), exact)

    @cached_property
    def _norm(self) -> float:
        """``||A||`` near enough for an allowance."""
        return self._gram.bounds[1].value ** 0.5

    def _iterate(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z near ``(A^T A + beta I)^{-1} r``, ``w = A z`` and ``r - A^T w``."""
        beta = expand(self._beta(r), r)
        z = self.solver.solve(lambda v: self._gram(v) + beta * v, r).x
        w = self.physics.A(z)
        return z, w, r - self.physics.A_adjoint(w)

    def _beta(self, r: Tensor) -> Tensor:
        """beta of each sample, shape (B,)."""
        return torch.as_tensor(self.beta, dtype=r.dtype, device=r.device).expand(len(r))

    def _check(self, r: Tensor) -> None:
        if r.shape[1:] != self.like.shape[1:] or r.dtype != self.like.dtype:
            raise InputError(
                f"r has shape {tuple(r.shape)} and dtype {r.dtype}, but the solver was prepared "
                f"for (B, {', '.join(map(str, self.like.shape[1:]))}) and {self.like.dtype}: make "
                "another SourceSolver for these images."
            )
        beta = torch.as_tensor(self.beta)
        if beta.dim() == 1 and len(beta) not in (1, len(r)):
            raise InputError(f"beta has {len(beta)} entries for {len(r)} samples.")


@verb
def source_element(
    physics: LinearPhysics,
    r: Tensor,
    beta: float | Tensor,
    solver: ConjugateGradients | None = None,
) -> SourceElement:
    """Find the w that nearly satisfies the source condition ``r = A^T w`` at the price beta.

    Formula: ``w = A (A^T A + beta I)^{-1} r`` minimises ``||r - A^T w||^2 + beta ||w||^2``
    (theory, section 7).

    Args:
        physics: deepinv linear physics A.
        r: ``R(x)``, shape (B, C, ...), float32 or float64.
        beta: positive, a number or one for each sample.
        solver: tolerance and limit of conjugate gradients, for physics without decomposition.

    Raises:
        InputError: if beta is not positive or r is no batch of images.
    """
    return _solver(physics, r, beta, solver).element(r)


@verb
def source_loss(
    physics: LinearPhysics,
    r: Tensor,
    beta: float | Tensor,
    solver: ConjugateGradients | None = None,
) -> Tensor:
    """Compute ``S_beta(r)``, shape (B,), with the gradient ``2 (r - A^T w)``.

    Tries the decomposition of the physics at every call; in a loop use :class:`SourceSolver`.

    Args and errors: those of :func:`source_element`.
    """
    return _solver(physics, r, beta, solver).loss(r)


@verb
def least_norm_element(
    physics: LinearPhysics, r: Tensor, solver: ConjugateGradients | None = None
) -> SourceElement:
    """Find the least-norm w among those that minimise ``||r - A^T w||``.

    Formula: ``w = A (A^T A)^+ r``; the residual is the component of r in the kernel of A.
    Decomposable physics: exact, with singular values up to rounding taken as 0. Other physics:
    :func:`source_element` with the smallest usable beta, which the result states.

    Args:
        physics: deepinv linear physics A.
        r: ``R(x)``, shape (B, C, ...), float32 or float64.
        solver: tolerance and limit of conjugate gradients.

    Raises:
        InputError: if r is no batch of images.
    """
    _check_image(r)
    r = r.detach()
    gram = Gram(physics, r)
    calculus = gram.calculus
    if calculus is None:
        norm = gram.bounds[1].value
        return source_element(physics, r, USABLE_BETA[r.dtype] * max(norm, 1e-12), solver)
    floor = calculus.rounding

    def invert(s: Tensor, c: Tensor) -> Tensor:
        seen = s > floor
        return torch.where(seen, 1.0 / torch.where(seen, s, 1.0).square(), 0.0).to(r.dtype)

    with torch.no_grad():
        w = physics.A(calculus.apply(invert, r))
    residual = calculus.kernel(r)
    root, slack = length(residual), _slack(r, w, float(calculus.values.max()))
    return SourceElement(w, residual, torch.zeros_like(root), *_bracket(root, slack), True)


def _bracket(
    root: Tensor, slack: Tensor, defect: Tensor | float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """``S_beta(r)`` from its root, and its proved ends; defect bounds ``||q||``."""
    lower = ((root - slack).clamp_min(0.0).square() - defect**2).clamp_min(0.0)
    return root.square(), lower, (root + slack).square()


def _slack(r: Tensor, w: Tensor, norm: float) -> Tensor:
    """Allowance for the rounding of ``r - A^T w``."""
    return allowance(length(r) + norm * length(w), r.dtype)


def _remaining(s: Tensor, c: Tensor) -> Tensor:
    """The filter that takes r to ``r - A^T w``."""
    return c / (s.square() + c)


def _solver(
    physics: LinearPhysics, r: Tensor, beta: float | Tensor, solver: ConjugateGradients | None
) -> SourceSolver:
    return SourceSolver(physics, r.detach(), beta, solver or ConjugateGradients())


def _check_image(image: Tensor) -> None:
    if image.dim() < 3 or image.dtype not in USABLE_BETA or 0 in image.shape:
        raise InputError(
            "Expected images of shape (B, C, ...) in float32 or float64, "
            f"got shape {tuple(image.shape)} and dtype {image.dtype}."
        )
