"""A certificate made by hand: statements of every standing."""

from __future__ import annotations

from math import inf

import numpy as np

from equipoise.bounds import Kind
from equipoise.certify.statement import Certificate, Section, Statement
from equipoise.report.pages import Example


def statement(
    name: str,
    value: float | None,
    kind: Kind = Kind.PROVED,
    *,
    title: str | None = None,
    holds: bool = True,
    advice: str = "",
) -> Statement:
    return Statement(
        name=name,
        title=title or f"Title of {name}",
        value=value,
        kind=kind,
        assumes=f"assumption of {name}",
        holds=holds,
        source="theory, Thm 2",
        words=f"Words about {name}.",
        advice=advice,
    )


def build_certificate() -> Certificate:
    return Certificate(
        "Inpainting of half the pixels. R: a pair. alpha = 1; 24 x 24 pixels.",
        (
            Section(
                "Constants",
                (
                    statement("operator_norm_lower", 1.0),
                    statement("operator_norm_upper", 1.0),
                    statement("lipschitz_lower", 3.21987, Kind.ESTIMATED),
                    statement("lipschitz_upper", 4.5678901),
                ),
            ),
            Section(
                "Existence and uniqueness",
                (
                    statement(
                        "uniqueness", None, holds=False, advice="Take alpha below 0.2, or <b>R</b>."
                    ),
                    statement("contraction_factor", 0.9),
                    statement("unbounded", inf),
                ),
            ),
            Section(
                "Errors",
                (
                    statement("error_floor", 0.12),
                    statement("error_upper_bound", 9.0),
                ),
            ),
        ),
    )


def build_example() -> Example:
    rng = np.random.default_rng(0)
    truth = rng.random((24, 24))
    return Example(
        name="scene",
        truth=truth,
        degraded=truth + 0.1,
        reconstruction=truth + 0.05,
        error=1.2,
        notes=("PSNR 20.00 dB at the starting point, 26.02 dB restored.",),
    )
