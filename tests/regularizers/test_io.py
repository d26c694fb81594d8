"""Weights files: nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from saved_weights import RECORD, saved, small_residual

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

FORMAT1 = Path(__file__).parents[1] / "format1"


@pytest.fixture
def regularizer() -> ContractiveResidual:
    return small_residual()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path)


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
