"""Weights files that are damaged, foreign or absurd: nothing of them is loaded or run."""

from __future__ import annotations

import dataclasses
import json
import pickle
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from saved_weights import rewrite, saved

import equipoise.regularizers.io as weights_files
from equipoise.errors import WeightsError
from equipoise.regularizers import (
    ContractiveResidual,
    load_regularizer,
    save_regularizer,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path)


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
    with pytest.raises(WeightsError, match=r"never pickles|cannot be read"):
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
        with pytest.raises(WeightsError, match="cannot be read"):
            load_regularizer(path)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"format": "equipoise/x"}, {"format": "equipoise/0"}]
)
def test_foreign_files(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(WeightsError, match=r"not written by equipoise.*Residual"):
        load_regularizer(path)


def test_newer_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        newer = dataclasses.replace(weights_files.WEIGHTS, version=3)
        patch.setattr(weights_files, "WEIGHTS", newer)
        rewrite(path)
    with pytest.raises(WeightsError, match="upgrade equipoise"):
        load_regularizer(path)


@pytest.mark.parametrize("value", [None, "{", "[1]", '{"width": 3}'])
def test_damaged_configuration(path: Path, value: str | None) -> None:
    rewrite(path, {"config": value})
    with pytest.raises(WeightsError, match="damaged config"):
        load_regularizer(path)


@pytest.mark.parametrize("value", [None, "{", "[1]", '{"tensor": "record/0"}'])
def test_damaged_record(path: Path, value: str | None) -> None:
    rewrite(path, {"record": value}, **{"record/0": torch.ones(1)})
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


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.uint8, torch.bool, torch.complex64),
    ],
    ids=str,
)
def test_other_numbers_are_no_weights(path: Path, dtype: torch.dtype) -> None:
    rewrite(path, offset=torch.ones(1).to(dtype))
    with pytest.raises(WeightsError, match=f"float32 or all torch.float64, got offset {dtype}"):
        load_regularizer(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_other_numbers_are_no_part_of_a_record(path: Path, dtype: torch.dtype) -> None:
    rewrite(path, **{"record/0": torch.ones(1).to(dtype)})
    with pytest.raises(WeightsError, match=f"got record/0 {dtype}"):
        load_regularizer(path)


def test_one_weight_too_large_for_the_precision_of_the_others(path: Path) -> None:
    rewrite(path, offset=torch.tensor([1e200], dtype=torch.float64))
    with pytest.raises(WeightsError, match=r"all torch\.float32 or all torch\.float64"):
        load_regularizer(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    field = ContractiveResidual(width=2, depth=1, kernel_size=3)
    save_regularizer(path, field, {"task": {"kernel": torch.rand(3, 3)}})
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 5):  # five is odd: all bits, in every byte at least one
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        with pytest.raises(WeightsError):
            load_regularizer(path)


def test_the_checksum_covers_tensors_configuration_and_record(path: Path) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        texts = file.metadata()
    config = texts["config"].replace("0.95", "0.85")
    assert config != texts["config"]
    for changed in ({"config": config}, {"record": "{}"}, {"format": "equipoise/1"}, {}):
        safetensors.torch.save_file(tensors, path, {**texts, **changed})
        if changed:
            with pytest.raises(WeightsError, match="checksum does not fit"):
                load_regularizer(path)
    tensors["offset"] = tensors["offset"] + 1e-3
    safetensors.torch.save_file(tensors, path, texts)
    with pytest.raises(WeightsError, match="checksum does not fit"):
        load_regularizer(path)
    del texts["sha256"]
    safetensors.torch.save_file(tensors, path, texts)
    with pytest.raises(WeightsError, match="checksum does not fit"):
        load_regularizer(path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"name": "tied-conv", "filters": 100_000_000}, "do not fit"),
        ({"name": "tied-conv", "filters": 3, "kernel_size": 99_999}, "do not fit"),
        ({"name": "tied-conv", "filters": 2**62}, "cannot build"),
        ({"name": "untied-conv", "filters": 100_000_000}, "do not fit"),
        ({"name": "ridge", "filters": [50_000, 50_000]}, "do not fit"),
        ({"name": "fields-of-experts", "filters": 100_000_000, "expert": "spline"}, "do not fit"),
        ({"name": "contractive", "depth": 100_000_000}, "do not fit"),
        ({"name": "tied-dense", "image_shape": [1, 9999, 9999], "features": 9999}, "do not fit"),
        ({"name": "untied-dense", "image_shape": [1, 9999, 9999], "features": 9999}, "do not fit"),
        ({"name": "scaled", "inner": {"name": "tied-conv", "filters": 10**8}}, "do not fit"),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else value,
)
def test_sizes_are_compared_before_anything_is_allocated(
    path: Path, config: dict[str, Any], said: str
) -> None:
    rewrite(path, {"config": json.dumps(config)})
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with memory_limit(2**30), pytest.raises(WeightsError, match=said):
        load_regularizer(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
    assert grown < 100_000  # kilobytes


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let the system refuse so many bytes beyond what is used now."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def test_a_nest_of_configurations_is_refused(path: Path) -> None:
    deep = '{"name": "scaled", "inner": ' * 5000 + '{"name": "tv"}' + "}" * 5000
    rewrite(path, {"config": deep})
    with pytest.raises(WeightsError, match=r"damaged config|cannot build"):
        load_regularizer(path)


@pytest.mark.parametrize(
    "record",
    [
        '{"task": ' * 900 + "3" + "}" * 900,
        '{"task": ' + "[" * 900 + "]" * 900 + "}",
        '{"seed": ' + "9" * 5000 + "}",
        '{"seed": ' + "[" * 100_000 + "}",
    ],
    ids=["objects", "lists", "digits", "open"],
)
def test_records_that_are_nested_or_long_are_read_or_refused(path: Path, record: str) -> None:
    rewrite(path, {"record": record})
    with suppress(WeightsError):  # how deep is too deep, the interpreter decides
        load_regularizer(path)


def test_whatever_a_configuration_leads_to_is_a_weights_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for raised in (RecursionError, MemoryError, ZeroDivisionError, KeyError("x")):

        def load(*args: object, error: Any = raised, **kwargs: object) -> None:
            raise error

        monkeypatch.setattr(ContractiveResidual, "load_state_dict", load)
        with pytest.raises(WeightsError, match=r"weights\.safetensors.*copy or download"):
            load_regularizer(path)


def test_foreign_files_are_not_read_beyond_their_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    size = 2**33
    header = {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)  # a hole: nothing on the disk
    with memory_limit(2**30), pytest.raises(WeightsError, match="not written by equipoise"):
        load_regularizer(path)
