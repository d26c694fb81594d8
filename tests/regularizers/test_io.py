"""Weights files: nothing is lost, nothing foreign is loaded."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from equipoise.errors import OutputError, UsageError, WeightsError
from equipoise.regularizers import (
    ContractiveResidual,
    Residual,
    Tikhonov,
    load_regularizer,
    save_regularizer,
)

RECORD = {"version": "0.1", "seed": 3, "data": ["a", "b"], "loss": {"final": 0.25}}


@pytest.fixture
def regularizer() -> ContractiveResidual:
    torch.manual_seed(0)
    return ContractiveResidual(width=4, depth=2, kernel_size=3)


@pytest.fixture
def path(tmp_path: Path, regularizer: ContractiveResidual) -> Path:
    target = tmp_path / "weights.safetensors"
    save_regularizer(target, regularizer, RECORD)
    return target


def rewrite(path: Path, metadata: dict[str, str | None] | None = None, **tensors: Any) -> None:
    """Write the file again with some metadata or tensors replaced (None: removed)."""
    with safetensors.safe_open(path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        notes = {**file.metadata(), **(metadata or {})}
    found.update(tensors)
    safetensors.torch.save_file(
        {name: tensor for name, tensor in found.items() if tensor is not None},
        path,
        {key: value for key, value in notes.items() if value is not None},
    )


def test_round_trip(path: Path, regularizer: ContractiveResidual) -> None:
    again, record = load_regularizer(path)
    x = torch.randn(2, 1, 6, 7, generator=torch.Generator().manual_seed(0))
    assert record == RECORD
    assert again.config == regularizer.config
    assert torch.equal(again.field(x), regularizer.field(x))
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_dtype_is_kept(tmp_path: Path, regularizer: ContractiveResidual) -> None:
    regularizer.double()
    save_regularizer(tmp_path / "double.safetensors", regularizer, {})
    again, _ = load_regularizer(tmp_path / "double.safetensors")
    x = torch.randn(1, 1, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.field(x), regularizer.field(x))


def test_device_is_chosen(path: Path) -> None:
    again, _ = load_regularizer(path, device="meta")
    assert all(parameter.device.type == "meta" for parameter in again.parameters())


def test_metadata_are_readable_without_equipoise(path: Path) -> None:
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "equipoise/1"
    assert json.loads(metadata["config"])["name"] == "contractive"
    assert json.loads(metadata["record"]) == RECORD


def test_regulariser_without_tensors(tmp_path: Path) -> None:
    save_regularizer(tmp_path / "t.safetensors", Tikhonov("gradient"), RECORD)
    again, record = load_regularizer(tmp_path / "t.safetensors")
    assert again.config == Tikhonov("gradient").config
    assert record == RECORD


# ---- saving --------------------------------------------------------------------------------------


def test_other_suffixes_are_not_written(tmp_path: Path, regularizer: ContractiveResidual) -> None:
    with pytest.raises(UsageError, match=r"end in \.safetensors"):
        save_regularizer(tmp_path / "weights.pt", regularizer, {})
    assert not list(tmp_path.iterdir())


def test_networks_of_the_user_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no configuration"):
        save_regularizer(tmp_path / "w.safetensors", Residual(torch.nn.Identity()), {})
    assert not list(tmp_path.iterdir())


def test_record_must_be_json(tmp_path: Path, regularizer: ContractiveResidual) -> None:
    with pytest.raises(UsageError, match="JSON"):
        save_regularizer(tmp_path / "w.safetensors", regularizer, {"weights": torch.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_nan_weights_do_not_replace_good_ones(path: Path, regularizer: ContractiveResidual) -> None:
    before = path.read_bytes()
    with torch.no_grad():
        regularizer.bias[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"Not saved: bias has NaN.*diverged"):
        save_regularizer(path, regularizer, RECORD)
    assert path.read_bytes() == before


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let the system refuse to write files longer than this, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_write_cut_off_by_the_system_keeps_the_old_file(
    path: Path, regularizer: ContractiveResidual
) -> None:
    before = path.read_bytes()
    with file_size_limit(len(before) // 2), pytest.raises(OutputError, match="File too large"):
        save_regularizer(path, regularizer, RECORD)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write_bytes", "fsync", "replace"])
def test_full_disk_keeps_the_old_file(
    step: str, path: Path, regularizer: ContractiveResidual, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path if step == "write_bytes" else os, step, full)
    with pytest.raises(OutputError, match=r"No space left on device.*free space"):
        save_regularizer(path, regularizer, {})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_missing_folder_is_an_output_error(
    tmp_path: Path, regularizer: ContractiveResidual
) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        save_regularizer(tmp_path / "none" / "w.safetensors", regularizer, {})


# ---- loading -------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file or directory"):
        load_regularizer(tmp_path / "none.safetensors")


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(WeightsError, match=r"folder\.safetensors"):
        load_regularizer(tmp_path / "folder.safetensors")


class _Trap:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("unpickled"),))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_pickles_are_never_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(WeightsError, match=r"pickle|no safetensors file"):
        load_regularizer(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_files(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"truncated.*copy or download"):
        load_regularizer(path)


def test_random_bytes_and_absurd_headers(path: Path) -> None:
    for content in (bytes(range(256)) * 4, struct.pack("<Q", 2**60) + b"{}"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="no safetensors file"):
            load_regularizer(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "equipoise/x"}])
def test_foreign_files(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(WeightsError, match=r"not written by equipoise.*Residual"):
        load_regularizer(path)


def test_newer_format(path: Path) -> None:
    rewrite(path, {"format": "equipoise/2"})
    with pytest.raises(WeightsError, match="upgrade equipoise"):
        load_regularizer(path)


@pytest.mark.parametrize("value", [None, "{", "[1]", '{"width": 3}'])
def test_damaged_configuration(path: Path, value: str | None) -> None:
    rewrite(path, {"config": value})
    with pytest.raises(WeightsError, match="damaged config"):
        load_regularizer(path)


@pytest.mark.parametrize("value", [None, "{", "[1]"])
def test_damaged_record(path: Path, value: str | None) -> None:
    rewrite(path, {"record": value})
    with pytest.raises(WeightsError, match="damaged record"):
        load_regularizer(path)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"name": "contractif"}, "Did you mean 'contractive'"),
        ({"name": "contractive", "heads": 2}, "no argument 'heads'"),
        ({"name": "contractive", "contraction": 2.0}, "between 0 and 1"),
    ],
)
def test_configurations_that_cannot_be_built(path: Path, config: dict[str, Any], word: str) -> None:
    rewrite(path, {"config": json.dumps(config)})
    with pytest.raises(WeightsError, match=f"cannot build.*{word}"):
        load_regularizer(path)


def test_tensors_that_do_not_fit(path: Path) -> None:
    rewrite(path, bias=torch.zeros(3, 4), offset=None, extra=torch.zeros(1))
    with pytest.raises(WeightsError) as caught:
        load_regularizer(path)
    message = str(caught.value)
    assert "bias has shape (3, 4) instead of (2, 4)" in message
    assert "offset is missing" in message
    assert "extra is not expected" in message


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(path: Path, value: float) -> None:
    rewrite(path, offset=torch.tensor([value]))
    with pytest.raises(WeightsError, match=r"offset has NaN or infinite.*earlier checkpoint"):
        load_regularizer(path)
