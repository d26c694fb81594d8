"""YAML as options need it: no objects, and nothing that is small as text and large in memory."""

from __future__ import annotations

from typing import Any

from equipoise.errors import InputError


def from_yaml(text: str) -> Any:
    """What a text in YAML says.

    Aliases (``*name``) are refused: a few lines of them stand for more than any memory holds.

    Raises:
        InputError: if there are aliases.
        Exception: whatever the parser raises on what is no YAML; for
            :func:`~equipoise.files.decoding`.
    """
    import yaml  # not for commands without it

    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise InputError("YAML aliases (*name) are not supported: write the value out.")
    return yaml.safe_load(text)
