"""One thing that the page states in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Plain sentences about one topic.

    Args:
        topic: a few words that lead it, without a full stop.
        text: plain sentences (no markup).
    """

    topic: str
    text: str
