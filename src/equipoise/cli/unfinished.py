"""The trainings of a comparison that did not come to its end, for the same command to go on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from equipoise.errors import UsageError
from equipoise.files import make_folder, remove_abandoned
from equipoise.strict_json import json_text, write_json

_SETTINGS = "settings.json"


class Unfinished:
    """A folder of checkpoints beside the settings that they belong to.

    Args:
        folder: the folder; it exists only while there is something in it.
        settings: of the comparison, JSON-able.
        command: what asked for it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], command: str) -> None:
        self.folder = folder
        self._content = {"settings": settings, "command": command}

    @contextlib.contextmanager
    def kept(self, discard: bool) -> Iterator[None]:
        """Keep the folder until the work is done; one without checkpoints goes in any case.

        Args:
            discard: remove the checkpoints of other settings.

        Raises:
            UsageError: if there are some of other settings that are not to be removed.
        """
        self._settle(discard)
        make_folder(self.folder)
        remove_abandoned(self.folder)
        write_json(self._content, self.folder / _SETTINGS)
        done = False
        try:
            yield
            done = True
        finally:
            if done or not self._any():
                shutil.rmtree(self.folder, ignore_errors=True)

    def _settle(self, discard: bool) -> None:
        """Go on from what is there, or remove it, or refuse to."""
        known = self._known()
        if not self._any():
            return
        if known.get("settings") == self._plain()["settings"]:
            typer.echo(f"Going on from the checkpoints in {self.folder}.", err=True)
        elif discard:
            shutil.rmtree(self.folder)
        else:
            raise UsageError(
                f"{self.folder} holds an unfinished comparison with other settings: "
                f"{known.get('command', 'its settings cannot be read')}. Run that command again "
                "to finish it, or discard it by --overwrite, or choose another --out."
            )

    def _any(self) -> bool:
        return any(self.folder.glob("*.safetensors"))

    def _known(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / _SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _plain(self) -> dict[str, Any]:
        """The content as it would be read back."""
        plain: dict[str, Any] = json.loads(json_text(self._content))
        return plain
