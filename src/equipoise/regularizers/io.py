"""Weights files: one .safetensors file with the configuration and the training record inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise.decoding import decoding, said
from equipoise.errors import UsageError, WeightsError
from equipoise.regularizers.base import Regularizer
from equipoise.regularizers.catalogue import build
from equipoise.tensor_files import SUFFIX, Kind, TensorFile, read_tensors, write_tensors

#: Format 1 had no checksum and no tensors in its record.
WEIGHTS = Kind(
    "equipoise/",
    2,
    foreign="was not written by equipoise: load its tensors with safetensors.torch and build the "
    "network by hand, for example as equipoise.Residual(network)",
    remedy="copy or download it again, or train anew",
)
#: Names of the record's tensors begin with it; names in a state_dict cannot.
_OF_RECORD = "record/"
#: Numbers of weights, and of the tensors in a record.
_WEIGHT_TYPES = (torch.float32, torch.float64)
_RECORD_TYPES = (*_WEIGHT_TYPES, torch.uint8)


def save_regularizer(path: str | Path, regularizer: Regularizer, record: dict[str, Any]) -> None:
    """Write a regulariser to one ``.safetensors`` file, replacing it in one step.

    The metadata hold the format version, the regulariser's configuration and the record as JSON,
    and a checksum of the whole file. Tensors may stand in the record (a blur kernel, a mask):
    they are stored beside the weights. No code is stored, so loading a file runs none.

    Args:
        path: file name ending in ``.safetensors``; a file that exists is replaced.
        regularizer: one from the catalogue (it has a ``config``), all its parameters in float32
            or all in float64.
        record: training record and provenance (versions, date, seed, data), JSON-able but for
            tensors of dtype float32, float64 or uint8.

    Raises:
        UsageError: if the suffix is wrong, the regulariser has no configuration, or the record is
            not JSON-able.
        WeightsError: if a weight is not finite, or a dtype is none of these.
        OutputError: if the file cannot be written; an older file is untouched.
    """
    if Path(path).suffix != SUFFIX:
        raise UsageError(f"Weights files end in {SUFFIX}, got '{path}'.")
    stored: dict[str, Tensor] = {}

    def aside(value: object) -> dict[str, str]:
        if not isinstance(value, Tensor):
            raise TypeError(f"a {type(value).__name__} is not")
        name = f"{_OF_RECORD}{len(stored)}"
        stored[name] = value
        return {"tensor": name}

    try:
        texts = {
            "config": json.dumps(regularizer.config),
            "record": json.dumps(record, default=aside),
        }
    except TypeError as error:
        raise UsageError(f"Configuration and record must be JSON-able: {error}.") from error
    tensors = {**regularizer.state_dict(), **stored}
    _refuse_unusable(tensors, "Not saved")
    write_tensors(path, WEIGHTS, tensors, texts)


def load_regularizer(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[Regularizer, dict[str, Any]]:
    """Read a regulariser that :func:`save_regularizer` wrote, in the dtype it was saved in.

    The tensors' shapes are compared with the configuration before anything is allocated for it,
    and no random numbers are drawn.

    Args:
        path: the ``.safetensors`` file, of this or an older format.
        device: where to put the parameters.

    Returns:
        The regulariser and its record, with the record's tensors on the CPU.

    Raises:
        WeightsError: if the file is missing, unreadable, truncated, foreign, of a newer format or
            not as it was written, or if its weights do not fit its configuration, are not finite,
            or are not all float32 or all float64.
    """
    if Path(path).suffix != SUFFIX:
        raise WeightsError(
            f"'{path}' does not end in {SUFFIX}: equipoise reads only the files that it wrote "
            "itself, and never pickles (.pt, .pth, .ckpt)."
        )
    with decoding(path, "weights file", WeightsError, WEIGHTS.remedy):
        file = read_tensors(path, WEIGHTS)
        _refuse_unusable(file.tensors, f"'{path}' is not used")
        record = _with_tensors(file.parsed("record"), file.tensors)
        if not isinstance(record, dict):  # one that says of itself that it is a tensor
            raise file.damaged("record")
        weights = {k: t for k, t in file.tensors.items() if not k.startswith(_OF_RECORD)}
        regularizer = _without_values(file)
        _check_fit(path, weights, regularizer.state_dict())
        regularizer.load_state_dict(weights, assign=True)
    return regularizer.to(device), record


def _without_values(file: TensorFile) -> Regularizer:
    """The regulariser of the configuration, whose tensors have shapes and no memory."""
    config = file.parsed("config")
    if "name" not in config:
        raise file.damaged("config")
    try:
        with torch.device("meta"):
            return build(**config)
    except Exception as error:  # sizes that no tensor can have raise anything
        raise WeightsError(
            f"'{file.path}' has a configuration that this version of equipoise cannot build: "
            f"{said(error)}"
        ) from error


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A record with its tensors in the places where they stood."""
    if isinstance(value, list):
        return [_with_tensors(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    name = value.get("tensor")
    if len(value) == 1 and isinstance(name, str) and name in tensors:
        return tensors[name]
    return {key: _with_tensors(entry, tensors) for key, entry in value.items()}


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


def _refuse_unusable(tensors: dict[str, Tensor], consequence: str) -> None:
    weights = {name: t.dtype for name, t in tensors.items() if not name.startswith(_OF_RECORD)}
    strange = {name: dtype for name, dtype in weights.items() if dtype not in _WEIGHT_TYPES}
    strange |= {n: t.dtype for n, t in tensors.items() if t.dtype not in _RECORD_TYPES}
    if strange or len(set(weights.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in (strange or weights).items())
        raise WeightsError(
            f"{consequence}: weights are all torch.float32 or all torch.float64, got {listed}; "
            "convert the regularizer by .float() or .double() and save it again."
        )
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise WeightsError(
            f"{consequence}: {', '.join(bad)} has NaN or infinite values, most likely because "
            "training diverged; go back to an earlier checkpoint or use a smaller learning rate."
        )
