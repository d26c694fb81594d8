"""The constants of A and R as statements."""

from __future__ import annotations

from equipoise.bounds import Bound, estimated, proved
from equipoise.certify.claims import DECLARE, Topic, text
from equipoise.certify.constants import FieldConstants, PhysicsConstants
from equipoise.certify.statement import Section, Statement
from equipoise.fields import Traits

_SUMMARY = "theory, summary"
_EXACT = "A decomposable, which was tried on an image"
_TRAITS = "declared by R from the norms of its operators and the slopes of its potentials"
_NORM_LOWER = Topic("operator_norm_lower", "Norm of A, from below", _EXACT, _SUMMARY)
_NORM_UPPER = Topic("operator_norm_upper", "Norm of A, from above", _EXACT, _SUMMARY)
_LEAST_LOWER = Topic(
    "singular_value_lower", "Smallest singular value of A, from below", _EXACT, _SUMMARY
)
_LEAST_UPPER = Topic(
    "singular_value_upper", "Smallest singular value of A, from above", _EXACT, _SUMMARY
)
_KERNEL = Topic("kernel_dimension", "Dimension of the kernel of A, from below", _EXACT, _SUMMARY)
_LIPSCHITZ_UPPER = Topic(
    "lipschitz_upper", "Lipschitz constant of R, from above", _TRAITS, _SUMMARY
)
_LIPSCHITZ_LOWER = Topic(
    "lipschitz_lower", "Lipschitz constant of R, from below", "measured", _SUMMARY
)
_MODULUS_LOWER = Topic(
    "modulus_lower", "Modulus of monotonicity of R, from below", _TRAITS, _SUMMARY
)
_MODULUS_UPPER = Topic(
    "modulus_upper", "Modulus of monotonicity of R, from above", "measured", _SUMMARY
)
_DEFECT = Topic(
    "symmetry_defect", "Symmetry defect of the Jacobian of R", "one image", "theory, section 9"
)
#: Where A has no decomposition.
_UNBOUNDED = (
    "Without a decomposition of A its norm is not bounded from above: Lanczos' method approaches "
    "it from below.",
    "Use a decomposable physics (denoising, masks, circular blur, single-coil MRI).",
)
#: Where R declares no constant.
_UNKNOWN = "R declares no such constant: nothing is assumed of it beyond its values.", DECLARE


def constants_section(physics: PhysicsConstants, field: FieldConstants, traits: Traits) -> Section:
    """State the brackets of the norms of A and R, and how far R is from a gradient.

    Args:
        physics: what is known of A.
        field: what is known of R.
        traits: what R declares.
    """
    least = "s_-, the smallest singular value of A, is at least this"
    known = physics.least.below
    least += ": A loses nothing." if known and known.value > 0 else "; 0 is always safe."
    statements = (
        _of_physics(_NORM_LOWER, physics.norm.below, "||A|| is at least this."),
        _of_physics(_NORM_UPPER, physics.norm.above, "||A|| is at most this."),
        _of_physics(_LEAST_LOWER, physics.least.below, least),
        _of_physics(_LEAST_UPPER, physics.least.above, "s_- is at most this."),
        _kernel(physics),
        *_field(field),
        _defect(field, traits),
    )
    return Section("Constants", statements)


def _kernel(physics: PhysicsConstants) -> Statement:
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
    return _of_physics(_KERNEL, below, words)


def _of_physics(topic: Topic, bound: Bound | None, words: str) -> Statement:
    """State what a decomposition gave, or what else the bound says of itself."""
    if bound is None:  # the norm from above, without a decomposition
        return topic.fails(*_UNBOUNDED)
    return topic.says(bound, words, "" if bound.why == "decomposition" else bound.why)


def _field(field: FieldConstants) -> list[Statement]:
    low, high = field.lipschitz.below, field.lipschitz.above
    most, least = field.modulus.above, field.modulus.below
    assert low is not None
    assert most is not None
    measured = f"measured at {field.where}"
    reached = "The Lipschitz constant of R is at least this, reached near an image that was tried."
    below = "The modulus of R is at most this, by a direction that was found."
    if most.value < 0:
        below += " R is not monotone there."
    bounded = "||R(x) - R(z)|| is at most this times ||x - z||, for all images of all sizes."
    monotone = "" if least is None else _modulus_words(least.value)
    return [
        _LIPSCHITZ_UPPER.states(high, bounded, _UNKNOWN),
        _LIPSCHITZ_LOWER.says(low, reached, measured),
        _MODULUS_LOWER.states(least, monotone, _UNKNOWN),
        _MODULUS_UPPER.says(most, below, measured),
    ]


def _modulus_words(mu: float) -> str:
    if mu > 0:
        return "R is strongly monotone: <R(x) - R(z), x - z> >= mu ||x - z||^2."
    if mu == 0:
        return "R is monotone: <R(x) - R(z), x - z> >= 0."
    return f"R is monotone up to {text(-mu)}: R(x) + {text(-mu)} x is monotone."


def _defect(field: FieldConstants, traits: Traits) -> Statement:
    found = field.defect
    if traits.gradient_field:
        words = "R is the gradient of a potential by construction, so its Jacobian is symmetric."
        return _DEFECT.says(proved(0.0), words, "R a gradient by construction")
    words = (
        f"||J - J^T|| / ||J||, 0 for a gradient and 2 for a skew field, with standard error "
        f"{text(found.standard_error)} from {found.probes} random probes."
    )
    return _DEFECT.says(estimated(found.value), words)
