"""YAML as options need it: no objects, and nothing that is small as text and large in memory."""

from __future__ import annotations

from typing import Any

from equipoise.errors import InputError

#: Most lists and mappings inside each other.
DEEPEST = 20


def from_yaml(text: str) -> Any:
    """What a text in YAML says.

    Aliases (``*name``) are refused: a few lines of them stand for more than any memory holds; and
    deep nests, which take the parser seconds.

    Raises:
        InputError: if there are aliases, or more than :data:`DEEPEST` levels.
        Exception: whatever the parser raises on what is no YAML; for
            :func:`~equipoise.decoding.decoding`.
    """
    import yaml  # not for commands without it

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise InputError("YAML aliases (*name) are not supported: write the value out.")
        if depth > DEEPEST:
            raise InputError(f"YAML of more than {DEEPEST} levels is not supported.")
    return yaml.safe_load(text)
