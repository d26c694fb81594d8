"""Weights files: one .safetensors file with the configuration and the training record inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from equipoise.errors import UsageError, WeightsError
from equipoise.files import atomic_write
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.catalogue import build

#: Version of the layout of weights files.
FORMAT = 1
_PREFIX = "equipoise/"
_SUFFIX = ".safetensors"


def save_regularizer(path: str | Path, regularizer: Regularizer, record: dict[str, Any]) -> None:
    """Write a regulariser to one ``.safetensors`` file, replacing it in one step.

    The metadata hold the format version, the regulariser's configuration and the record as JSON;
    no code is stored, so loading a file runs none.

    Args:
        path: file name ending in ``.safetensors``; a file that exists is replaced.
        regularizer: one from the catalogue (it has a ``config``).
        record: JSON-able training record and provenance (versions, date, seed, data).

    Raises:
        UsageError: if the suffix is wrong, the regulariser has no configuration, or the record is
            not JSON-able.
        WeightsError: if a weight is not finite.
        OutputError: if the file cannot be written; an older file is untouched.
    """
    if Path(path).suffix != _SUFFIX:
        raise UsageError(f"Weights files end in {_SUFFIX}, got '{path}'.")
    try:
        metadata = {
            "format": f"{_PREFIX}{FORMAT}",
            "config": json.dumps(regularizer.config),
            "record": json.dumps(record),
        }
    except TypeError as error:
        raise UsageError(f"Configuration and record must be JSON-able: {error}.") from error
    # Clones: safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in regularizer.state_dict().items()
    }
    _refuse_not_finite(tensors, "Not saved")
    content: bytes = save(tensors, metadata)
    # Written by Python, so that a full disk is an OSError (safetensors' own writer hides it).
    atomic_write(path, lambda temporary: _write(temporary, content))


def load_regularizer(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Regularizer, dict[str, Any]]:
    """Read a regulariser that :func:`save_regularizer` wrote, in the dtype it was saved in.

    Args:
        path: the ``.safetensors`` file.
        device: where to put the parameters.

    Returns:
        The regulariser and its record.

    Raises:
        WeightsError: if the file is missing, unreadable, truncated, foreign, of a newer format, or
            if its weights do not fit its configuration or are not finite.
    """
    if Path(path).suffix != _SUFFIX:
        raise WeightsError(
            f"'{path}' does not end in {_SUFFIX}: equipoise reads only the files that it wrote "
            "itself, and never pickles (.pt, .pth, .ckpt)."
        )
    tensors, metadata = _read(path)
    _check_format(path, metadata)
    config, record = _parsed(path, metadata, "config"), _parsed(path, metadata, "record")
    try:
        regularizer = build(**config)
    except UsageError as error:
        raise WeightsError(
            f"'{path}' has a configuration that this version of equipoise cannot build: {error}"
        ) from error
    _check_fit(path, tensors, regularizer.state_dict())
    _refuse_not_finite(tensors, f"'{path}' is not used")
    kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(kinds) == 1:
        regularizer.to(kinds.pop())
    regularizer.load_state_dict(tensors)
    return regularizer.to(device), record


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except OSError as error:
        raise WeightsError(
            f"Cannot read '{path}': {error.strerror or error}. Check the path and its permissions."
        ) from error
    except SafetensorError as error:
        raise WeightsError(
            f"'{path}' is truncated or no safetensors file ({error}): copy or download it again, "
            "or train anew."
        ) from error


def _check_format(path: str | Path, metadata: dict[str, str]) -> None:
    stamp = metadata.get("format", "")
    number = stamp.removeprefix(_PREFIX)
    if not stamp.startswith(_PREFIX) or not number.isdecimal():
        raise WeightsError(
            f"'{path}' was not written by equipoise: load its tensors with safetensors.torch and "
            "build the network by hand, for example as equipoise.Residual(network)."
        )
    if int(number) > FORMAT:
        raise WeightsError(
            f"'{path}' has format {number}, newer than {FORMAT}: upgrade equipoise to read it."
        )


def _parsed(path: str | Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, json.JSONDecodeError):
        value = None
    if not isinstance(value, dict) or (key == "config" and "name" not in value):
        raise WeightsError(f"'{path}' has a damaged {key} in its metadata: restore the file.")
    return value


def _check_fit(path: str | Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is not expected" for name in found if name not in expected]
    problems += [
        f"{name} has shape {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if problems:
        raise WeightsError(
            f"The tensors in '{path}' do not fit its configuration ({'; '.join(problems)}): "
            "the file was edited or damaged; restore it."
        )


def _refuse_not_finite(tensors: dict[str, Tensor], consequence: str) -> None:
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise WeightsError(
            f"{consequence}: {', '.join(bad)} has NaN or infinite values, most likely because "
            "training diverged; go back to an earlier checkpoint or use a smaller learning rate."
        )
