"""What a certificate comes to, in plain sentences."""

from __future__ import annotations

import torch
from certificates import statement
from deepinv.physics import Denoising

from equipoise import Equation, build
from equipoise.bounds import Kind
from equipoise.certify import certify
from equipoise.certify.statement import Certificate, Section
from equipoise.report.plainly import plain_words
from equipoise.solve import solve


def said(*statements: object) -> str:
    certificate = Certificate("", (Section("", statements),))  # type: ignore[arg-type]
    return " ".join(plain_words(certificate, 10_000))


def test_a_convex_equation_in_plain_words() -> None:
    y = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    equation = Equation(Denoising(), y, build("tikhonov"), 0.1)
    solution = solve(equation, y)
    words = plain_words(certify(equation, x=solution.x, truth=y), y.numel())
    assert words[0] == "For every data there is exactly one reconstruction: proved."
    assert words[1].startswith("A change of the data of size d changes the picture by at most 0.91")
    assert "gray level" in words[2]
    assert all(sentence.endswith(("proved.", "is.")) for sentence in words)


def test_what_is_not_proved_is_not_said_to_be() -> None:
    one, unique = statement("existence", 1.0), statement("uniqueness", 1.0)
    fails = statement("uniqueness", None, Kind.ESTIMATED, holds=False)
    measured = statement("stability_norm", 2.0, Kind.ESTIMATED)
    assert "exactly one" in said(one, unique)
    assert "another start may end in another" in said(one, fails)
    assert "at most one reconstruction (proved)" in said(unique)
    assert "Neither" in said(fails)
    assert "not known" in said(measured)


def test_distances_are_per_pixel() -> None:
    assert "2.5 gray levels" in said(statement("distance_upper", 100 * 2.5 / 255))
    assert "a hundredth of a gray level" in said(statement("distance_upper", 1e-6))
    assert "which any picture is" in said(statement("error_upper_bound", 200.0))
    assert "within 51 gray levels (of 255) per pixel of the truth" in said(
        statement("error_upper_bound", 20.0)
    )
