"""Dense batches of matrices with known spectra, and products with them that count themselves."""

from __future__ import annotations

import torch
from torch import Tensor


class Dense:
    """``v -> J v`` for a batch of matrices (B, n, n); counts its calls."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix, self.calls = matrix, 0

    def __call__(self, v: Tensor) -> Tensor:
        self.calls += 1
        return (self.matrix @ v.unsqueeze(-1)).squeeze(-1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def orthogonal(batch: int, n: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(batch, n, n, seed=seed))[0]


def symmetric(eigenvalues: Tensor, seed: int) -> Tensor:
    """Random symmetric matrices with the eigenvalues (B, n)."""
    u = orthogonal(*eigenvalues.shape, seed=seed)
    return (u * eigenvalues.unsqueeze(-2)) @ u.mT


def positive(batch: int, n: int, condition: float, seed: int) -> Tensor:
    values = torch.logspace(0, -1, n, base=condition, dtype=torch.float64)
    return symmetric(values.expand(batch, n), seed)


def indefinite(batch: int, n: int, condition: float, seed: int) -> Tensor:
    values = torch.logspace(0, -1, n, base=condition, dtype=torch.float64)
    values[::3] *= -1
    return symmetric(values.expand(batch, n), seed)


def monotone(batch: int, n: int, seed: int, low: float = 0.2) -> Tensor:
    """Non-symmetric, with symmetric part at least ``low``."""
    noise = normal(batch, n, n, seed=seed) / n**0.5
    values = torch.linspace(low, 1.0, n, dtype=torch.float64).expand(batch, n)
    return symmetric(values, seed + 1) + 0.5 * (noise - noise.mT)


def ill_conditioned(batch: int, n: int, condition: float, seed: int) -> Tensor:
    """Non-symmetric and far from normal, with the given condition number."""
    values = torch.logspace(0, -1, n, base=condition, dtype=torch.float64)
    return (orthogonal(batch, n, seed) * values) @ orthogonal(batch, n, seed + 1)
