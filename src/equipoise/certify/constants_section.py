"""The constants of A and R as statements."""

from __future__ import annotations

from equipoise.bounds import Bound, Kind
from equipoise.certify.claims import claim, refusal, text
from equipoise.certify.constants import FieldConstants, PhysicsConstants
from equipoise.certify.statement import Section, Statement
from equipoise.regularizers.base import Traits

_SUMMARY = "theory, summary"
_EXACT = "A decomposable, which was tried on an image"


def constants_section(physics: PhysicsConstants, field: FieldConstants, traits: Traits) -> Section:
    """State the brackets of the norms of A and R, and how far R is from a gradient.

    Args:
        physics: what is known of A.
        field: what is known of R.
        traits: what R declares.
    """
    return Section(
        "Constants",
        (
            *_norm(physics),
            *_least(physics),
            *_kernel(physics),
            *_field(field),
            _defect(field, traits),
        ),
    )


def _norm(physics: PhysicsConstants) -> list[Statement]:
    below, above = physics.norm.below, physics.norm.above
    assert below is not None
    found = [
        claim(
            "operator_norm_lower",
            "Norm of A, from below",
            below,
            _assumes(below),
            _SUMMARY,
            "||A|| is at least this.",
        )
    ]
    name, title = "operator_norm_upper", "Norm of A, from above"
    if above is None:
        words = (
            "Without a decomposition of A its norm is not bounded from above: Lanczos' method "
            "approaches it from below."
        )
        advice = "Use a decomposable physics (denoising, masks, circular blur, single-coil MRI)."
        return [*found, refusal(name, title, _EXACT, _SUMMARY, words, advice)]
    words = "||A|| is at most this."
    return [*found, claim(name, title, above, _assumes(above), _SUMMARY, words)]


def _least(physics: PhysicsConstants) -> list[Statement]:
    below, above = physics.least.below, physics.least.above
    assert below is not None
    assert above is not None
    words = "s_-, the smallest singular value of A, is at least this; 0 is always safe."
    if below.value > 0:
        words = "s_-, the smallest singular value of A, is at least this: A loses nothing."
    return [
        claim(
            "singular_value_lower",
            "Smallest singular value of A, from below",
            below,
            _assumes(below),
            _SUMMARY,
            words,
        ),
        claim(
            "singular_value_upper",
            "Smallest singular value of A, from above",
            above,
            _assumes(above),
            _SUMMARY,
            "s_- is at most this.",
        ),
    ]


def _kernel(physics: PhysicsConstants) -> list[Statement]:
    below, above = physics.kernel.below, physics.kernel.above
    assert below is not None
    size = f"{physics.measurements} measurements of {physics.unknowns} unknowns"
    words = f"The kernel of A has at least this many dimensions ({size})."
    if below.value == 0:
        words = f"Nothing is known of a kernel of A ({size})."
        if above is not None:
            words = f"The kernel of A is trivial ({size}): A loses nothing."
    elif above is not None and above.value == below.value:
        words = f"The kernel of A has exactly this many dimensions ({size}): A loses them."
    return [
        claim(
            "kernel_dimension",
            "Dimension of the kernel of A, from below",
            below,
            _assumes(below),
            _SUMMARY,
            words,
        )
    ]


def _field(field: FieldConstants) -> list[Statement]:
    low, high = field.lipschitz.below, field.lipschitz.above
    most, least = field.modulus.above, field.modulus.below
    assert low is not None
    assert most is not None
    traits = "declared by R from the norms of its operators and the slopes of its potentials"
    unknown = "R declares no such constant: nothing is assumed of it beyond its values."
    advice = "Use a field from the catalogue, or declare traits() that can be proved."
    found: list[Statement] = []
    name, title = "lipschitz_upper", "Lipschitz constant of R, from above"
    if high is None:
        found.append(refusal(name, title, traits, _SUMMARY, unknown, advice))
    else:
        words = "||R(x) - R(z)|| is at most this times ||x - z||, for all images of all sizes."
        found.append(claim(name, title, high, traits, _SUMMARY, words))
    words = "The Lipschitz constant of R is at least this, reached near an image that was tried."
    measured = f"measured at {field.where}"
    found.append(
        claim(
            "lipschitz_lower", "Lipschitz constant of R, from below", low, measured, _SUMMARY, words
        )
    )
    name, title = "modulus_lower", "Modulus of monotonicity of R, from below"
    if least is None:
        found.append(refusal(name, title, traits, _SUMMARY, unknown, advice))
    else:
        found.append(claim(name, title, least, traits, _SUMMARY, _modulus_words(least.value)))
    words = "The modulus of R is at most this, by a direction that was found."
    if most.value < 0:
        words += " R is not monotone there."
    found.append(
        claim(
            "modulus_upper",
            "Modulus of monotonicity of R, from above",
            most,
            measured,
            _SUMMARY,
            words,
        )
    )
    return found


def _modulus_words(mu: float) -> str:
    if mu > 0:
        return "R is strongly monotone: <R(x) - R(z), x - z> >= mu ||x - z||^2."
    if mu == 0:
        return "R is monotone: <R(x) - R(z), x - z> >= 0."
    return f"R is monotone up to {text(-mu)}: R(x) + {text(-mu)} x is monotone."


def _defect(field: FieldConstants, traits: Traits) -> Statement:
    name, title = "symmetry_defect", "Symmetry defect of the Jacobian of R"
    source, found = "theory, section 9", field.defect
    if traits.gradient_field:
        words = "R is the gradient of a potential by construction, so its Jacobian is symmetric."
        bound = Bound(0.0, Kind.PROVED)
        return claim(name, title, bound, "R a gradient by construction", source, words)
    words = (
        f"||J - J^T|| / ||J||, 0 for a gradient and 2 for a skew field, with standard error "
        f"{text(found.standard_error)} from {found.probes} random probes."
    )
    return claim(name, title, Bound(found.value, Kind.ESTIMATED), "one image", source, words)


def _assumes(bound: Bound) -> str:
    return _EXACT if bound.why == "decomposition" else bound.why
