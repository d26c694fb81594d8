"""Ground truths that satisfy the source condition exactly, made without circularity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.certify import SourceElement
from equipoise.randomness import normal_like
from equipoise.status import Status
from equipoise.study.cases import Case
from equipoise.study.settings import StudySettings
from equipoise.study.solving import solve_case
from equipoise.vectors import expand, norm

#: Strength and noise (relative to the clean data) of the equation whose solution is the truth.
STRENGTH, NOISE = 0.1, 0.2


@dataclass(frozen=True, eq=False)
class SourceTruth:
    """``R(x) = A^T w + rho`` with rho of the size of a solve's residual, and ``y = A x``.

    Args:
        x: the truth, shape (N, C, H, W).
        y: exact data ``A x``, shape (N, ...).
        element: w and rho.
        status: of the solve that made it.
    """

    x: Tensor
    y: Tensor
    element: SourceElement
    status: tuple[Status, ...]

    def repeated(self, times: int) -> SourceTruth:
        """Every truth ``times`` times, for as many noise draws."""
        x, y, w, rho = (
            tensor.repeat_interleave(times, 0)
            for tensor in (self.x, self.y, self.element.w, self.element.residual)
        )
        status = tuple(s for s in self.status for _ in range(times))
        return SourceTruth(x, y, _element(w, rho), status)


@dataclass(frozen=True)
class Rule:
    """``alpha = alpha_1 (delta / delta_1)^power`` with the a priori optimum ``alpha_1 = delta_1 /
    ||w||`` at the largest noise ``delta_1``, and the hypothesis of Thm 4 that it violates."""

    name: str
    label: str
    power: float
    violates: str = ""

    def data(
        self, case: Case, truth: SourceTruth, levels: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[float, Tensor]]:
        """alpha and noisy data of each level; noise of norm exactly delta is drawn anew.

        Args:
            case: for its physics.
            truth: B samples, one for each draw.
            levels: falling noise levels relative to the clean data, shape (L,).
            generator: of the noise.
        """
        size = float(norm(truth.y).mean())
        first = float(levels[0]) * size / float(truth.element.w_norm.mean())
        for level in levels.tolist():
            delta = torch.full((len(truth.y),), level * size)
            y = truth.y + draw_noise(case, truth.y, delta, generator)
            yield first * (level / float(levels[0])) ** self.power, y


def source_truth(case: Case, settings: StudySettings) -> SourceTruth:
    """Take the equilibrium of noisy data as the truth.

    Formula: ``x`` solves ``A^T(A x - y~) + a R(x) = 0``; then ``R(x) = A^T w`` with
    ``w = (y~ - A x) / a`` (theory, section 5: a source element is a shift of the data). The noise
    in ``y~`` spreads w over the whole spectrum, as a generic w is.

    Args:
        case: physics, regulariser and images.
        settings: seed and accuracy.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    clean = case.physics.A(case.images)
    data = clean + draw_noise(case, clean, NOISE * norm(clean), generator)
    found = solve_case(case, data, STRENGTH, settings, case.images)
    with torch.no_grad():
        y = case.physics.A(found.x)
        w = (data - y) / STRENGTH
        field = case.regularizer.field(found.x)
        rho = field - case.physics.A_adjoint(w)
    return SourceTruth(found.x, y, _element(w, rho), tuple(found.statuses))


def _element(w: Tensor, rho: Tensor) -> SourceElement:
    zero = torch.zeros(len(rho), dtype=torch.float64)
    square = norm(rho).double().square()
    return SourceElement(w, rho, zero, square, torch.zeros_like(square), square, exact=False)


def draw_noise(case: Case, like: Tensor, size: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of exactly the given norms, only where the physics looks.

    Args:
        case: for its physics.
        like: data of shape (B, ...).
        size: norm of each sample's noise, shape (B,).
        generator: of the noise.
    """
    noise = case.observed(normal_like(like, generator))
    return expand(size / norm(noise), noise) * noise
