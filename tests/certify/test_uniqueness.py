"""What is said of existence and uniqueness, case by case."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from deepinv.physics import Blur, Denoising, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.bounds import Bound, Kind, estimated, proved
from equipoise.certify import uniqueness
from equipoise.equation import Equation
from equipoise.fields import Traits
from equipoise.regularizers import build
from equipoise.regularizers.base import Constants, Regularizer
from equipoise.regularizers.residual import Residual

SHAPE = (1, 8, 8)


class Declared(Regularizer):
    """A field that only declares traits."""

    def __init__(self, modulus: Bound | None, gradient_field: bool) -> None:
        self.gradient_field = gradient_field
        super().__init__()
        self.declared = modulus

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return torch.zeros_like(x)

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=self.declared)


def holes() -> LinearPhysics:
    mask = torch.ones(SHAPE)
    mask[0, 2:4] = 0.0
    return Inpainting(SHAPE, mask=mask)


@dataclass(frozen=True)
class Expected:
    kind: Kind | None
    start: str
    words: str


CASES = {
    "data decide": (
        Denoising(),
        Declared(proved(-0.25), True),
        2.0,
        Expected(
            Kind.PROVED, "PROVED: strongly convex energy, modulus m = 0.5;", "one equilibrium"
        ),
    ),
    "field decides": (
        holes(),
        Declared(proved(0.1), False),
        2.0,
        Expected(Kind.PROVED, "PROVED: strongly monotone operator, modulus m = 0.2;", "one equil"),
    ),
    "estimated": (
        Denoising(),
        Declared(estimated(-0.25), False),
        1.0,
        Expected(Kind.ESTIMATED, "ESTIMATED: strongly monotone operator, modulus m = 0.75", "one"),
    ),
    "convex": (
        holes(),
        Declared(proved(0.0), True),
        1.0,
        Expected(Kind.PROVED, "PROVED: convex energy;", "A x is the same for all equilibria"),
    ),
    "monotone": (
        holes(),
        Declared(estimated(0.0), False),
        1.0,
        Expected(Kind.ESTIMATED, "ESTIMATED: monotone operator;", "A x is the same"),
    ),
    "too weak": (
        Denoising(),
        Declared(proved(-0.25), True),
        5.0,
        Expected(None, "none: only monotone up to 0.25", "too much for this physics and alpha"),
    ),
    "weak with holes": (
        holes(),
        Declared(proved(-0.001), True),
        1.0,
        Expected(None, "none: only monotone up to 0.001", "too much"),
    ),
    "unknown": (
        Denoising(),
        Residual(torch.nn.Identity()),
        1.0,
        Expected(None, "none: no constant of R is known", ""),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sentence(case: str) -> None:
    physics, regularizer, alpha, expected = CASES[case]
    found = uniqueness(Equation(physics, torch.rand(1, *SHAPE), regularizer, alpha))
    assert found.kind is expected.kind
    assert found.sentence.startswith(expected.start)
    assert expected.words in found.sentence


def test_real_fields_say_what_they_have() -> None:
    y = torch.rand(1, *SHAPE)
    tied = build("tied-conv", filters=3, kernel_size=3)
    assert uniqueness(Equation(Denoising(), y, tied)).kind is Kind.PROVED
    convex = uniqueness(Equation(holes(), y, tied))
    assert convex.sentence == "PROVED: convex energy; A x is the same for all equilibria"
    weak = build("wcrr", filters=(3,), kernel_size=3)
    assert "one equilibrium" in uniqueness(Equation(Denoising(), y, weak, 0.5)).sentence
    assert uniqueness(Equation(Denoising(), y, weak, 1.5)).kind is None
    contractive = build("contractive", width=3, depth=1, kernel_size=3)
    assert "strongly monotone operator" in uniqueness(Equation(holes(), y, contractive)).sentence


def test_physics_without_decomposition_proves_nothing_by_itself() -> None:
    blur = Blur(filter=torch.full((1, 1, 3, 3), 1 / 9), padding="circular")
    y = torch.rand(1, *SHAPE)
    assert uniqueness(Equation(blur, y, Declared(proved(-0.01), True))).kind is None
    convex = uniqueness(Equation(blur, y, Declared(proved(0.0), True)))
    assert "A x is the same" in convex.sentence
