"""Safetensors files of our own: a kind, a version, and a checksum over every byte."""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from equipoise.decoding import decoding
from equipoise.errors import WeightsError
from equipoise.files import atomic_write

SUFFIX = ".safetensors"
#: Stands for the checksum while it is computed.
_BLANK = "0" * 64
#: The checksum in the header. In texts of the header quotation marks are escaped, so that nothing
#: else looks like this.
_SEAL = re.compile(rb'"sha256":"([0-9a-f]{64})"')


@dataclass(frozen=True)
class Kind:
    """What a file is for.

    Args:
        prefix: of its format stamp, for example ``"equipoise/"``; the version follows.
        version: newest version; from 2 on there is a checksum.
        foreign: what is said of files without that stamp, to follow the file's name.
        remedy: what to do about a damaged file.
    """

    prefix: str
    version: int
    foreign: str
    remedy: str


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    Args:
        path: where it was read from.
        kind: what it is for.
        version: of its format.
        tensors: by name, on the CPU, in memory of their own.
        texts: the metadata, each value a JSON object.
    """

    path: Path
    kind: Kind
    version: int
    tensors: dict[str, Tensor]
    texts: dict[str, str]

    def parsed(self, key: str) -> dict[str, Any]:
        """One JSON object of the metadata.

        Raises:
            WeightsError: if it is missing or something else.
        """
        try:
            value = json.loads(self.texts[key])
        except Exception:  # missing, no JSON, too many digits, nested too deeply
            value = None
        if not isinstance(value, dict):
            raise self.damaged(key)
        return value

    def damaged(self, what: str) -> WeightsError:
        """The error that a part of the file is damaged."""
        return WeightsError(
            f"'{self.path}' has a damaged {what} in its metadata: {self.kind.remedy}."
        )


def write_tensors(
    path: str | Path, kind: Kind, tensors: dict[str, Tensor], texts: dict[str, str]
) -> None:
    """Write a file of the newest version, replacing an old one in one step.

    The checksum is the SHA-256 of the whole file with 64 zeros in the place of the checksum.

    Args:
        path: the file.
        kind: what it is for.
        tensors: by name, on any device.
        texts: further metadata, JSON objects.

    Raises:
        OutputError: if the file cannot be written; an older file is untouched.
    """
    stamp = f"{kind.prefix}{kind.version}"
    copies = {  # safetensors refuses tensors that share memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    blank: bytes = save(copies, {"format": stamp, **texts, "sha256": _BLANK})
    start, end = _seal(blank).span(1)
    digest = hashlib.sha256(blank).hexdigest().encode()
    # Written by Python, so that a full disk is an OSError (safetensors' own writer hides it).
    atomic_write(path, blank[:start] + digest + blank[end:])


def read_tensors(path: str | Path, kind: Kind) -> TensorFile:
    """Read a file of any version up to the newest; from version 2 on the checksum must fit.

    No more is read than the header before the file has turned out to be of this kind.

    Raises:
        WeightsError: if the file is missing, unreadable, truncated, foreign, of a newer version,
            or not as it was written.
    """
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            length = int.from_bytes(head, "little")
            header = file.read(length) if length < size else b""
            texts = _metadata(path, kind, header)
            version = _version(path, kind, texts.pop("format", ""))
            content = head + header + file.read()
    except OSError as error:
        raise WeightsError(
            f"Cannot read '{path}': {error.strerror or error}. Check the path and its permissions."
        ) from error
    with _decoding(path, kind):
        tensors = load(content)
    if version >= 2 or "sha256" in texts:
        _check_seal(path, kind, content)
    return TensorFile(Path(path), kind, version, tensors, texts)


def _metadata(path: str | Path, kind: Kind, header: bytes) -> dict[str, str]:
    """The texts in a header, none in files of others."""
    with _decoding(path, kind):
        found = json.loads(header)
        texts = found.get("__metadata__", {})
        if not all(isinstance(text, str) for text in texts.values()):
            raise ValueError("metadata that are no texts")
        return dict(texts)


def _version(path: str | Path, kind: Kind, stamp: str) -> int:
    number = stamp.removeprefix(kind.prefix)
    if not (stamp.startswith(kind.prefix) and re.fullmatch("[1-9][0-9]{0,5}", number)):
        raise WeightsError(f"'{path}' {kind.foreign}.")
    if int(number) > kind.version:
        raise WeightsError(
            f"'{path}' has format {number}, newer than {kind.version}: upgrade equipoise to read "
            "it."
        )
    return int(number)


def _check_seal(path: str | Path, kind: Kind, content: bytes) -> None:
    try:
        seal = _seal(content)
        start, end = seal.span(1)
        blank = content[:start] + _BLANK.encode() + content[end:]
        intact = seal[1] == hashlib.sha256(blank).hexdigest().encode()
    except ValueError:
        intact = False
    if not intact:
        raise WeightsError(
            f"'{path}' is not as it was written, its checksum does not fit: {kind.remedy}."
        )


def _seal(content: bytes) -> re.Match[bytes]:
    """Where the checksum stands.

    Raises:
        ValueError: if the header has none.
    """
    found = _SEAL.search(content, 8, 8 + int.from_bytes(content[:8], "little"))
    if found is None:
        raise ValueError("no checksum")
    return found


def _decoding(path: str | Path, kind: Kind) -> AbstractContextManager[None]:
    return decoding(path, "safetensors file", WeightsError, kind.remedy)
