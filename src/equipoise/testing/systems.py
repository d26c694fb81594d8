"""Small systems whose solutions are known, to try solvers on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.bounds import Bound, proved
from equipoise.errors import NoPotentialError
from equipoise.gauge import Gauge
from equipoise.randomness import normal_like
from equipoise.vectors import norm

#: Numbers of samples and of unknowns of each.
BATCH, SIZE = 4, 8
#: Least and greatest eigenvalue of G, norm of K, and shift c of the resolvent.
LOW, HIGH, SKEW, SHIFT = 1.0, 3.0, 0.5, 0.5


@dataclass(frozen=True)
class KnownSystem:
    """``E(x) = F(x) - F(z)``, ``F(x) = G x + tanh x + K x``: z solves it, and nothing else does.

    G is symmetric positive definite and K skew or zero, so E is strongly monotone.

    Args:
        z: the solutions, shape (B, n).
        G: shape (n, n).
        K: shape (n, n), or None; then E is a gradient field.
        declared: whether modulus and Lipschitz constant are known.
        cuttable: whether samples can be selected.
        rows: places of the samples in the full batch, (B,).
        spent: evaluations of each sample of the full batch so far.
    """

    z: Tensor
    G: Tensor
    K: Tensor | None
    declared: bool
    cuttable: bool
    rows: Tensor
    spent: Tensor

    @classmethod
    def random(
        cls,
        seed: int,
        *,
        skew: bool = False,
        declared: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> KnownSystem:
        """A system of random matrices and solutions."""
        basis, _ = torch.linalg.qr(normal_like(torch.empty(SIZE, SIZE).double(), seed))
        G = basis * torch.linspace(LOW, HIGH, SIZE).double() @ basis.mT
        other = normal_like(G, seed + 1)
        K = SKEW * (other - other.mT) / torch.linalg.matrix_norm(other - other.mT, 2)
        z = normal_like(torch.empty(BATCH, SIZE).double(), seed + 2)
        rows = torch.arange(BATCH)
        parts = z.to(dtype), G.to(dtype), K.to(dtype) if skew else None
        return cls(*parts, declared, True, rows, torch.zeros_like(rows))

    def starts(self) -> Tensor:
        """The solution of the first sample, and points further and further from the others'."""
        away = 10.0 ** torch.arange(len(self.z)).to(self.z)
        away[0] = 0.0
        return self.z + away.unsqueeze(1) * normal_like(self.z, 0) / SIZE

    def exact(self, x: Tensor) -> Tensor:
        """``E(x)``, not counted as an evaluation."""
        return self._field(x) - self._field(self.z)

    def _field(self, x: Tensor) -> Tensor:
        value = x @ self.G + x.tanh()
        return value if self.K is None else value + x @ self.K.mT

    @property
    def gauge(self) -> Gauge:
        """Residuals are measured against ``||F(z)||``."""
        scale = norm(self._field(self.z))
        return Gauge(scale, scale)

    @property
    def like(self) -> Tensor:
        """The solutions."""
        return self.z

    @property
    def gradient_field(self) -> bool:
        """Whether there is no skew part."""
        return self.K is None

    @property
    def modulus(self) -> Bound | None:
        """The least eigenvalue of G."""
        return proved(LOW) if self.declared else None

    @property
    def lipschitz(self) -> Bound | None:
        """``||G|| + 1 + ||K||``."""
        skew = 0.0 if self.K is None else SKEW
        return proved(HIGH + 1.0 + skew) if self.declared else None

    @property
    def disc(self) -> bool:
        """As for every gradient."""
        return self.K is None

    def residual(self, x: Tensor) -> Tensor:
        """``E(x)``."""
        self.spent[self.rows] += 1
        return self.exact(x)

    def potential_and_residual(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``<x, G x> / 2 + sum log cosh x - <F(z), x>`` and ``E(x)``.

        Raises:
            NoPotentialError: if there is a skew part.
        """
        if self.K is not None:
            raise NoPotentialError("This system is not a gradient field.")
        log_cosh = x.abs() - x.tanh().abs().log1p()
        linear = (0.5 * x @ self.G - self._field(self.z)) * x
        return (linear + log_cosh).sum(1), self.residual(x)

    def in_domain(self, x: Tensor) -> None:
        """E is defined everywhere."""

    def resolvent(self) -> tuple[Callable[[Tensor], Tensor], float]:
        """``v -> (G + c I)^{-1} v`` and c; the map contracts."""
        inverse = torch.linalg.inv(self.G + SHIFT * torch.eye(SIZE).to(self.G))
        return (lambda v: v @ inverse), SHIFT

    def select(self, keep: Tensor) -> KnownSystem | None:
        """The system of the samples ``keep``, which goes on counting in the same place."""
        return replace(self, z=self.z[keep], rows=self.rows[keep]) if self.cuttable else None
