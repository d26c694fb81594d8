"""Small dense systems with closed forms or Newton solutions, which count their evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from equipoise.bounds import Bound, proved
from equipoise.gauge import Gauge

#: name -> potential, derivative, second derivative (a representative at kinks).
Activation = tuple[
    Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]
]


def huber(slope: float) -> Activation:
    """Absolute value whose derivative rises with the given slope to 1."""

    def potential(s: Tensor) -> Tensor:
        small = s.abs() * slope <= 1
        return torch.where(small, 0.5 * slope * s.square(), s.abs() - 0.5 / slope)

    return (
        potential,
        lambda s: (slope * s).clamp(-1, 1),
        lambda s: slope * (s.abs() * slope <= 1).to(s.dtype),
    )


QUADRATIC: Activation = (lambda s: 0.5 * s.square(), lambda s: s, torch.ones_like)
SMOOTH: Activation = (
    lambda s: torch.sqrt(1 + s.square()) - 1,
    lambda s: s / torch.sqrt(1 + s.square()),
    lambda s: (1 + s.square()) ** -1.5,
)
#: Strongly convex: curvature between 1/2 and 3/2.
STRONG: Activation = (
    lambda s: 0.25 * s.square() + torch.sqrt(1 + s.square()) - 1,
    lambda s: 0.5 * s + s / torch.sqrt(1 + s.square()),
    lambda s: 0.5 + (1 + s.square()) ** -1.5,
)
#: log(1 + s^2 / 2): curvature between -1/8 and 1.
LORENTZ: Activation = (
    lambda s: torch.log1p(0.5 * s.square()),
    lambda s: s / (1 + 0.5 * s.square()),
    lambda s: (1 - 0.5 * s.square()) / (1 + 0.5 * s.square()).square(),
)


@dataclass
class Counter:
    """Evaluations of every sample of the full batch, and calls."""

    samples: Tensor
    calls: int = 0


@dataclass
class DenseSystem:
    """``E(x) = A^T (A x - y) + W^T phi(W x) + K x`` with A per sample, K skew or zero.

    Args:
        A: shape (B, p, n).
        y: shape (B, p).
        W: shape (k, n).
        phi: potential, derivative, second derivative.
        K: skew matrix (n, n) or None.
        curvature: bounds of the second derivative of the potential, for the traits; None: the
            system says nothing of its constants.
        shift: c of the resolvent (A must then be the same for all samples); None: no resolvent.
        floor: E is defined where every entry of x exceeds it; None: everywhere.
        cuttable: whether samples can be selected.
    """

    A: Tensor
    y: Tensor
    W: Tensor
    phi: Activation = QUADRATIC
    K: Tensor | None = None
    curvature: tuple[float, float] | None = None
    shift: float | None = None
    floor: float | None = None
    cuttable: bool = True
    rows: Tensor = field(default_factory=lambda: torch.empty(0))
    counter: Counter = field(default_factory=lambda: Counter(torch.empty(0)))

    def __post_init__(self) -> None:
        if len(self.rows) == 0:
            self.rows = torch.arange(len(self.y))
            self.counter = Counter(torch.zeros(len(self.y), dtype=torch.int64))

    @property
    def gauge(self) -> Gauge:
        return Gauge(self.scale, self.scale)

    @property
    def like(self) -> Tensor:
        return self.A.new_empty(len(self.A), self.A.shape[2])

    @property
    def scale(self) -> Tensor:
        return torch.linalg.vector_norm(self._back(self.y), dim=1)

    @property
    def gradient_field(self) -> bool:
        return self.K is None

    @property
    def disc(self) -> bool:
        return self.K is None and self.curvature is not None

    def _eigenvalues(self) -> tuple[float, float, float]:
        gram = torch.linalg.eigvalsh(self.A.mT @ self.A)
        ridge = torch.linalg.eigvalsh(self.W.T @ self.W)
        return float(gram.min()), float(gram.max()), float(ridge.max())

    @property
    def modulus(self) -> Bound | None:
        if self.curvature is None:
            return None
        low, _, ridge = self._eigenvalues()
        least = self.curvature[0]
        if least < 0:
            return proved(low + least * ridge)
        return proved(low + least * float(torch.linalg.eigvalsh(self.W.T @ self.W).min()))

    @property
    def lipschitz(self) -> Bound | None:
        if self.curvature is None:
            return None
        _, high, ridge = self._eigenvalues()
        skew = 0.0 if self.K is None else float(torch.linalg.matrix_norm(self.K, 2))
        return proved(high + max(map(abs, self.curvature)) * ridge + skew)

    def _back(self, v: Tensor) -> Tensor:
        return torch.einsum("bpn,bp->bn", self.A, v)

    def _count(self) -> None:
        self.counter.samples[self.rows] += 1
        self.counter.calls += 1

    def residual(self, x: Tensor) -> Tensor:
        self._count()
        misfit = torch.einsum("bpn,bn->bp", self.A, x) - self.y
        e = self._back(misfit) + self.phi[1](x @ self.W.T) @ self.W
        return e if self.K is None else e + x @ self.K.T

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert self.K is None
        misfit = torch.einsum("bpn,bn->bp", self.A, x) - self.y
        f = 0.5 * misfit.square().sum(1) + self.phi[0](x @ self.W.T).sum(1)
        if self.floor is not None:
            f = torch.where((x > self.floor).all(1), f, torch.nan)
        return f, self.residual(x)

    def in_domain(self, x: Tensor) -> Tensor | None:
        return None if self.floor is None else (x > self.floor).all(1)

    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float] | None:
        if self.shift is None:
            return None
        eye = torch.eye(self.A.shape[2], dtype=self.A.dtype)
        inverse = torch.linalg.inv(self.A[0].T @ self.A[0] + self.shift * eye)
        return (lambda v: v @ inverse.T), self.shift

    def select(self, keep: Tensor) -> DenseSystem | None:
        if not self.cuttable:
            return None
        return replace(self, A=self.A[keep], y=self.y[keep], rows=self.rows[keep])

    # ---- oracles -------------------------------------------------------------------------------

    def jacobian(self, x: Tensor) -> Tensor:
        """Dense Jacobians, shape (B, n, n)."""
        bend = self.phi[2](x @ self.W.T)
        J = self.A.mT @ self.A + torch.einsum("kn,bk,km->bnm", self.W, bend, self.W)
        return J if self.K is None else J + self.K

    def newton(self, x: Tensor, steps: int = 60) -> Tensor:
        """Zero of E by damped Newton steps (does not touch the counter)."""
        quiet = replace(self, counter=Counter(torch.zeros_like(self.counter.samples)))
        for _ in range(steps):
            e = quiet.residual(x)
            step = torch.linalg.solve(quiet.jacobian(x), e)
            sizes = 0.5 ** torch.arange(12, dtype=x.dtype)
            trials = torch.stack([quiet.residual(x - t * step).norm(dim=1) for t in sizes])
            x = x - sizes[trials.argmin(0)].unsqueeze(1) * step
        return x

    def to(self, dtype: torch.dtype) -> DenseSystem:
        """The same system in another floating-point type, counting afresh."""
        K = None if self.K is None else self.K.to(dtype)
        fresh = Counter(torch.zeros_like(self.counter.samples))
        return replace(
            self,
            A=self.A.to(dtype),
            y=self.y.to(dtype),
            W=self.W.to(dtype),
            K=K,
            counter=fresh,
        )

    def one(self, i: int) -> DenseSystem:
        """Sample i as a system of its own, counting afresh."""
        return replace(
            self,
            A=self.A[i : i + 1],
            y=self.y[i : i + 1],
            rows=torch.empty(0),
            counter=Counter(torch.empty(0)),
        )


def random_system(
    seed: int = 0,
    *,
    batch: int = 3,
    n: int = 20,
    p: int = 12,
    k: int = 30,
    phi: Activation = SMOOTH,
    skew: float = 0.0,
    condition: float = 1.0,
    tikhonov: float = 0.0,
    **options: object,
) -> DenseSystem:
    """A random float64 system.

    Args:
        skew: norm of the skew part.
        condition: ratio between largest and smallest row scale of A.
        tikhonov: rows ``sqrt(tikhonov) I`` appended to A, which make E strongly monotone.
        options: passed on to :class:`DenseSystem`.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    A = (
        normal(1, p, n)
        / math.sqrt(n)
        * torch.logspace(0, -math.log10(condition), p).double()[:, None]
    )
    A = A.expand(batch, p, n).clone()
    if tikhonov:
        eye = math.sqrt(tikhonov) * torch.eye(n, dtype=torch.float64)
        A = torch.cat([A, eye.expand(batch, n, n)], dim=1)
    y = normal(batch, A.shape[1])
    if tikhonov:
        y[:, p:] = 0.0
    W = normal(k, n) / math.sqrt(n)
    K = None
    if skew:
        K = normal(n, n)
        K = K - K.T
        K = skew * K / torch.linalg.matrix_norm(K, 2)
    return DenseSystem(A, y, W, phi, K, **options)  # type: ignore[arg-type]
