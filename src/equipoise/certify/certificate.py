"""Everything that is known of one equation, gathered in one certificate."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from equipoise.certify.constants import physics_constants, regularizer_constants
from equipoise.certify.constants_section import constants_section
from equipoise.certify.existence import existence_section
from equipoise.certify.hypotheses import Hypotheses
from equipoise.certify.image_statements import (
    lower_bound_statements,
    posterior_statements,
    source_statements,
)
from equipoise.certify.point import Point
from equipoise.certify.rounding import length, up
from equipoise.certify.stability import stability_section
from equipoise.certify.statement import Certificate, Section
from equipoise.certify.steps import solving_section
from equipoise.equation import Equation
from equipoise.errors import UsageError
from equipoise.modes import verb


@verb
def certify(
    equation: Equation,
    *,
    x: Tensor | None = None,
    truth: Tensor | None = None,
    noise_norm: float | Tensor | None = None,
    probes: int = 8,
    seed: int = 0,
    on_part: Callable[[str, int, int], None] | None = None,
) -> Certificate:
    """State what is proved, and what only measured, of an equation and its equilibria.

    Constants of A and R, existence and uniqueness, sure steps, stability; for a reconstruction its
    distance to the equilibrium; for a ground truth the source condition and the error that no
    noise level and no alpha can go below. Where a hypothesis fails there is no number, but the
    hypothesis, by how much it fails, and what would mend it. Numbers hold for every sample of a
    batch.

    Args:
        equation: with the squared norm as data fidelity; y and alpha as usual.
        x: reconstructions, shape (B, C, ...); None leaves out what is said of one.
        truth: ground truth images, shape (B, C, ...); None leaves out what is said of one.
        noise_norm: at least ``||y - A truth||``, a number or one a sample; None: it is computed.
            Only with a truth.
        probes: random probes of the symmetry defect, at least 2.
        seed: of all random vectors.
        on_part: told, before each part of the work, what it is, how many are done, and how many
            there are.

    Returns:
        The certificate; the number of one name is ``certificate.find(name)``.

    Raises:
        HypothesisError: for another data fidelity, or if R contradicts its declared traits.
        InputError: if x, truth or noise_norm do not match the equation.
        UsageError: if noise_norm is given without a truth, or probes is below 2.
    """
    if noise_norm is not None and truth is None:
        raise UsageError("noise_norm bounds the noise of a ground truth: give truth as well.")
    if probes < 2:
        raise UsageError(f"A standard error needs at least 2 probes, got {probes}.")
    known = Hypotheses(equation)
    here = None if x is None else Point(known, x)
    there = None if truth is None else Point(known, truth, "truth")
    image = equation.adjoint_data if x is None else x

    def constants() -> Section:
        physics = physics_constants(equation, seed=seed)
        field = regularizer_constants(equation.regularizer, image, probes=probes, seed=seed)
        return constants_section(physics, field, equation.traits)

    parts: list[tuple[str, Callable[[], Section]]] = [
        ("constants of A and R", constants),
        ("existence and uniqueness", lambda: existence_section(known)),
        ("sure steps", lambda: solving_section(known)),
        ("stability", lambda: stability_section(known)),
    ]
    if here is not None:
        parts.append(("distance", lambda: Section("A posteriori", posterior_statements(here))))
    if there is not None:
        delta = _noise(there, noise_norm)
        parts += [
            ("lower bound", lambda: Section("Lower bound", lower_bound_statements(there, delta))),
            (
                "source condition",
                lambda: Section("Source condition", source_statements(there, delta)),
            ),
        ]
    sections = []
    for done, (what, made) in enumerate(parts):
        if on_part is not None:
            on_part(what, done, len(parts))
        sections.append(made())
    return Certificate(_subject(known), tuple(sections))


def _noise(truth: Point, noise_norm: float | Tensor | None) -> Tensor:
    """The bound on the noise of each sample; the noise itself, rounded up, where none is given."""
    if noise_norm is not None:
        return truth.known.noise(noise_norm)
    equation = truth.known.equation
    with torch.no_grad():
        return up(length(equation.y - equation.physics.A(truth.image)))


def _subject(known: Hypotheses) -> str:
    """Physics, regulariser, alpha and image size in one sentence."""
    equation, (low, high) = known.equation, known.alpha_range
    batch, *shape = equation.image_shape
    alpha = f"alpha = {low:.4g}" if low == high else f"alpha from {low:.4g} to {high:.4g}"
    samples = "" if batch == 1 else f", {batch} samples"
    return (
        f"{type(equation.physics).__name__} and {type(equation.regularizer).__name__} with "
        f"{alpha} on images of shape {' x '.join(str(n) for n in shape)}{samples}."
    )
