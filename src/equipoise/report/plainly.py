"""What a certificate comes to, in sentences for someone who reads no theorem."""

from __future__ import annotations

import math

from equipoise.certify.statement import Certificate
from equipoise.report.words import significant


def plain_words(certificate: Certificate, entries: int) -> list[str]:
    """A few sentences: how many reconstructions there are, and what data and solver can change.

    Args:
        certificate: what is known of one equation.
        entries: how many numbers the picture has; distances are said per pixel, the root of their
            mean square, on the scale where black is 0 and white is 1.
    """
    return [
        _how_many(certificate),
        _data(certificate),
        *_distance(certificate, entries),
        *_error(certificate, entries),
    ]


def _how_many(certificate: Certificate) -> str:
    one, at_most = _proved(certificate, "existence"), _proved(certificate, "uniqueness")
    if one and at_most:
        return "For every data there is exactly one reconstruction: proved."
    if one:
        return (
            "For every data there is a reconstruction (proved); that there is only one is not "
            "proved, so that another start may end in another picture."
        )
    if at_most:
        return "There is at most one reconstruction (proved); that there is one is not proved."
    return (
        "Neither that there is a reconstruction nor that there is only one is proved: this picture "
        "is one, another start may end in another."
    )


def _data(certificate: Certificate) -> str:
    stability = _proved(certificate, "stability_norm")
    if stability is None:
        return "How far a change of the data can move the picture is not known."
    factor = significant(stability, 2)
    return f"A change of the data of size d changes the picture by at most {factor} d: proved."


def _distance(certificate: Certificate, entries: int) -> list[str]:
    distance = _proved(certificate, "distance_upper")
    if distance is None:
        return []
    pixel = _per_pixel(distance, entries)
    return [f"The computed picture is within {pixel} of the exact reconstruction: proved."]


def _error(certificate: Certificate, entries: int) -> list[str]:
    error = _proved(certificate, "error_upper_bound")
    if error is None:
        return []
    pixel = _per_pixel(error, entries)
    if error / math.sqrt(entries) >= 1.0:
        return [
            f"Of its distance to the truth only this is proved: at most {pixel}, which any "
            "picture is."
        ]
    return [f"With this noise it is within {pixel} of the truth: proved."]


def _proved(certificate: Certificate, name: str) -> float | None:
    """The number of a statement that is proved, or None."""
    found = certificate.find(name)
    if found is None or not found.holds or found.kind != "PROVED" or found.value is None:
        return None
    return found.value if math.isfinite(found.value) else None


def _per_pixel(distance: float, entries: int) -> str:
    levels = 255 * distance / math.sqrt(entries)
    if levels < 0.01:
        return "a hundredth of a gray level (of 255) per pixel"
    return f"{significant(levels, 2)} gray levels (of 255) per pixel"
