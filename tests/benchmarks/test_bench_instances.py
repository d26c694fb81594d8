"""Standard instances: what the message says without data, and what they are with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from bench_data import need_data

from benchmarks import instances
from benchmarks.__main__ import main
from equipoise.errors import InputError, UnknownNameError, UsageError


def test_absent_data_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(instances.FOLDER, str(tmp_path))
    for call in (
        lambda: instances.ridge("crr"),
        lambda: instances.photographs("bsd68", 1),
        lambda: instances.instance("denoise", "crr"),
    ):
        with pytest.raises(UsageError, match=str(tmp_path)):
            call()


@pytest.mark.parametrize("name", ["evaluation", "memory"])
def test_the_program_ends_with_2_and_the_message_without_data(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(instances.FOLDER, str(tmp_path))
    assert main([name, "--short"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_other_names_are_refused() -> None:
    need_data()
    other: Any = "wwcrr"
    with pytest.raises(UnknownNameError, match="wcrr"):
        instances.ridge(other)
    task: Any = "sharpen"
    with pytest.raises(UnknownNameError, match="sharpen"):
        instances.instance(task, "crr")
    with pytest.raises(InputError, match="68"):
        instances.photographs("bsd68", 69)


@pytest.mark.parametrize("task", get_args(instances.Task))
def test_an_instance_is_the_same_in_float64(task: instances.Task) -> None:
    need_data()
    item = instances.instance(task, "wcrr", 1, 48)
    wide = item.to(torch.float64)
    assert wide.y.dtype == torch.float64
    assert torch.equal(wide.y.float(), item.y)
    assert item.alpha == instances.STRENGTHS[task][1]
    narrow_residual = item.equation().residual(item.start())
    residual = wide.equation().residual(wide.start())
    torch.testing.assert_close(narrow_residual.double(), residual, rtol=0, atol=2e-5)


def test_the_noise_is_that_of_the_seed_and_has_its_size() -> None:
    need_data()
    first, again = (instances.instance("denoise", "crr", 2, 64) for _ in range(2))
    other = instances.instance("denoise", "crr", 2, 64, seed=1)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.y, other.y)
    assert float((first.y - first.truth).std()) == pytest.approx(0.1, rel=0.1)
    assert "bsd68 3" in first.name


def test_the_blur_is_a_9_by_9_gaussian() -> None:
    need_data()
    problem = instances.pose("deblur", (32, 32))
    point = torch.zeros(1, 1, 32, 32)
    point[0, 0, 16, 16] = 1.0
    answer = problem.physics.A(point)[0, 0]
    assert int((answer > 1e-7).sum()) == 81
    expected = torch.exp(torch.tensor(-2.0 / (2 * instances.BLUR_DEVIATION**2)))
    assert float(answer[17, 17] / answer[16, 16]) == pytest.approx(float(expected), rel=1e-4)


def test_large_images_and_batches_are_made_of_photographs() -> None:
    need_data()
    large = instances.tiled(300, 520)
    first, second = instances.photographs("set12", 2, 256)
    assert large.shape == (1, 300, 520)
    assert torch.equal(large[:, :256, :256], first)
    assert torch.equal(large[:, :256, 256:512], second.flip(-1))
    for count in (1, 7, 128, 256):
        assert instances.patches(count, 64).shape == (count, 1, 64, 64)
    several = instances.patches(8, 64)
    assert len({float(patch.sum()) for patch in several}) == 8
