"""Weights of the Hugging Face hub: from its cache without a network, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.file_download import try_to_load_from_cache

import equipoise
from equipoise import Scaled
from equipoise.errors import MissingExtraError, UsageError, WeightsError
from equipoise.shipped import DEFAULT, pretrained, shipped
from equipoise.shipped.models import weights_file
from hub_cache import COMMIT, cached

NAME = "someone/denoiser"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_the_cache_is_read_without_a_network(cache: Path) -> None:
    cached(cache, NAME, {"model.safetensors": weights_file(DEFAULT).read_bytes()})
    assert isinstance(try_to_load_from_cache(NAME, "model.safetensors"), str)
    found, here = pretrained(NAME, noise=0.05), pretrained(DEFAULT, noise=0.05)
    assert isinstance(found, Scaled)
    assert found.config == here.config
    for name, tensor in here.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)
    assert shipped(NAME)[1] == shipped(DEFAULT)[1]


def test_a_revision_can_be_asked_for(cache: Path) -> None:
    cached(cache, NAME, {"model.safetensors": b""})
    assert weights_file(NAME, revision=COMMIT).name == "model.safetensors"
    with pytest.raises(WeightsError, match="cannot be reached"):
        weights_file(NAME, revision="f" * 40)


@pytest.mark.parametrize("content", [b"", b"\x08" + 7 * b"\x00" + b'{"a":{}}'])
def test_a_cached_file_of_others_is_refused(cache: Path, content: bytes) -> None:
    cached(cache, NAME, {"model.safetensors": content})
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        pretrained(NAME)


def test_what_is_neither_here_nor_cached_says_so() -> None:
    with pytest.raises(WeightsError, match=f"(?s)No folder is called '{NAME}'.*cannot be reached"):
        pretrained(NAME)


def failing(error: Exception) -> Callable[..., str]:
    def hf_hub_download(*_: object, **__: object) -> str:
        raise error

    return hf_hub_download


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RemoteEntryNotFoundError, f"'{NAME}' on the Hugging Face hub holds no model.safetensors"),
        (RepositoryNotFoundError, f"'{NAME}' on the Hugging Face hub cannot be fetched: 404 said"),
    ],
)
def test_what_the_hub_refuses_is_said(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], words: str
) -> None:
    response = SimpleNamespace(headers={}, request=None)
    raised = error("404 said", response=response)  # type: ignore[call-arg]
    monkeypatch.setattr("huggingface_hub.hf_hub_download", failing(raised))
    with pytest.raises(WeightsError, match=words):
        pretrained(NAME)


def test_a_full_disk_and_a_bad_name_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="cannot be fetched"):
        pretrained("a--b/c")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", failing(OSError(28, "No space left")))
    with pytest.raises(WeightsError, match="No space left"):
        pretrained(NAME)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'equipoise\[hub\]'") as caught:
        pretrained(NAME)
    assert isinstance(caught.value, (ImportError, UsageError))
    assert equipoise.pretrained(DEFAULT).config == shipped(DEFAULT)[0].config
