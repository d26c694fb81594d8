"""Weights files: nothing is lost, nothing foreign is loaded."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import equipoise.regularizers.io as weights_files
from equipoise.errors import OutputError, UsageError, WeightsError
from equipoise.regularizers import (
    ContractiveResidual,
    Residual,
    Scaled,
    TiedConvPair,
    Tikhonov,
    build,
    load_regularizer,
    save_regularizer,
)
from equipoise.tensor_files import read_tensors, write_tensors

FORMAT1 = Path(__file__).parents[1] / "format1"
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


def rewrite(path: Path, texts: dict[str, str | None] | None = None, **tensors: Any) -> None:
    """Write the file again, sealed, with some metadata or tensors replaced (None: removed)."""
    file = read_tensors(path, weights_files.WEIGHTS)
    found = {**file.tensors, **tensors}
    told = {**file.texts, **(texts or {})}
    write_tensors(
        path,
        weights_files.WEIGHTS,
        {name: tensor for name, tensor in found.items() if tensor is not None},
        {key: text for key, text in told.items() if text is not None and key != "sha256"},
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
    assert metadata["format"] == "equipoise/2"
    assert json.loads(metadata["config"])["name"] == "contractive"
    assert json.loads(metadata["record"]) == RECORD


def test_regulariser_without_tensors(tmp_path: Path) -> None:
    save_regularizer(tmp_path / "t.safetensors", Tikhonov("gradient"), RECORD)
    again, record = load_regularizer(tmp_path / "t.safetensors")
    assert again.config == Tikhonov("gradient").config
    assert record == RECORD


def test_tensors_in_the_record_come_back_where_they_stood(
    tmp_path: Path, regularizer: ContractiveResidual
) -> None:
    path = tmp_path / "w.safetensors"
    kernel = torch.rand(3, 5, dtype=torch.float64).T  # not contiguous
    mask = torch.tensor([[0, 1]], dtype=torch.uint8)
    record = {"task": {"kernel": {"values": kernel}, "masks": [mask, "rows:0.5"]}, "seed": 3}
    save_regularizer(path, regularizer, record)
    again, found = load_regularizer(path)
    assert torch.equal(found["task"]["kernel"]["values"], kernel)
    assert torch.equal(found["task"]["masks"][0], mask)
    assert found["task"]["masks"][0].dtype == torch.uint8
    assert (found["task"]["masks"][1], found["seed"]) == ("rows:0.5", 3)
    assert again.state_dict().keys() == regularizer.state_dict().keys()


def test_loading_draws_no_random_numbers(path: Path) -> None:
    before = torch.get_rng_state()
    load_regularizer(path)
    assert torch.equal(torch.get_rng_state(), before)


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
        save_regularizer(tmp_path / "w.safetensors", regularizer, {"path": tmp_path})
    assert not list(tmp_path.iterdir())


def test_nan_weights_do_not_replace_good_ones(path: Path, regularizer: ContractiveResidual) -> None:
    before = path.read_bytes()
    with torch.no_grad():
        regularizer.bias[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"Not saved: bias has NaN.*diverged"):
        save_regularizer(path, regularizer, RECORD)
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_are_not_written(
    path: Path, regularizer: ContractiveResidual, dtype: torch.dtype
) -> None:
    before = path.read_bytes()
    with pytest.raises(WeightsError, match=rf"Not saved.*{dtype}.*\.float\(\)"):
        save_regularizer(path, regularizer.to(dtype), RECORD)
    regularizer.float().offset.data = regularizer.offset.data.double()
    with pytest.raises(WeightsError, match=r"all torch\.float32 or all torch\.float64"):
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


# ---- files written before ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "norm", "told"),
    [
        ("denoise", 0.21182516361347503, {"task": "denoise"}),
        ("kernel", 0.04095637222841519, {"task": "deblur", "kernel": "psf.npy"}),
        ("mask", 0.04268295714358301, {"task": "inpaint", "mask": "holes.png"}),
        ("physics", 0.014231193476244445, {"task": "physics", "physics": "scan.py:op"}),
    ],
)
def test_format_1_loads(name: str, norm: float, told: dict[str, str]) -> None:
    regularizer, record = load_regularizer(FORMAT1 / f"{name}.safetensors")
    x = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8).square()
    with torch.no_grad():
        assert float(regularizer.field(x).double().norm()) == pytest.approx(norm, rel=1e-5)
    assert {key: record["task"][key] for key in told} == told


def test_subclasses_of_named_classes_are_saved_as_what_they_are_built_on(path: Path) -> None:
    class Narrow(TiedConvPair):
        def __init__(self, width: int = 4) -> None:
            super().__init__(filters=width, kernel_size=3)

    mine, x = Narrow(5), torch.rand(1, 1, 6, 7)
    save_regularizer(path, mine, {})
    again, _ = load_regularizer(path)
    assert type(again) is TiedConvPair
    assert torch.equal(again.field(x), mine.field(x))


def test_arguments_may_be_numbers_and_ranges_of_numpy_and_python(path: Path) -> None:
    for made in (
        Scaled(Tikhonov(), strength=np.float32(0.5)),  # type: ignore[arg-type]
        build("crr", filters=range(2, 4), kernel_size=3),
        build("sum", parts=[{"name": "tv"}], weights=[np.float32(0.5)]),
    ):
        save_regularizer(path, made, {})
        assert load_regularizer(path)[0].config == made.config
