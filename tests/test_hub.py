"""Folders and repositories of the Hugging Face hub: written, read, pushed, and what is refused."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard, constants

from equipoise import Tikhonov, load_regularizer, pretrained
from equipoise.errors import MissingExtraError, OutputError, UsageError, WeightsError
from equipoise.hub import HubModel
from equipoise.regularizers import build, save_regularizer
from equipoise.shipped import DEFAULT, shipped
from equipoise.shipped.models import weights_file
from hub_cache import cached


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def saved(folder: Path) -> Path:
    HubModel.from_pretrained(DEFAULT).save_pretrained(folder)
    return folder


def require_same(file: Path, other: Path) -> None:
    (found, record), (expected, its_record) = load_regularizer(file), load_regularizer(other)
    assert record == its_record
    assert found.config == expected.config
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def metadata(readme: Path) -> dict[str, Any]:
    _, header, _ = readme.read_text(encoding="utf-8").split("---\n", 2)
    return dict(yaml.safe_load(header))


def test_a_folder_holds_the_weights_and_their_card(tmp_path: Path) -> None:
    folder = saved(tmp_path / "new" / "folder")
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "README.md"}
    require_same(folder / "model.safetensors", weights_file(DEFAULT))
    again = HubModel.from_pretrained(folder)
    assert again.card == shipped(DEFAULT)[1]
    assert again.record["card"] == again.card.model_dump(mode="json")


def test_a_folder_is_read_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in (folder, str(folder), folder / "model.safetensors"):
        found, here = pretrained(name, noise=0.07), pretrained(DEFAULT, noise=0.07)
        for key, tensor in here.state_dict().items():
            assert torch.equal(found.state_dict()[key], tensor)


def test_the_metadata_are_what_the_hub_reads(tmp_path: Path) -> None:
    found = metadata(saved(tmp_path) / "README.md")
    assert found["license"] == "cc-by-nc-4.0"
    assert found["library_name"] == "equipoise"
    assert found["pipeline_tag"] == "image-to-image"
    assert {"deepinv", "inverse-problems", "model_hub_mixin"} <= set(found["tags"])
    assert ModelCard.load(tmp_path / "README.md").data.to_dict() == found


def test_metadata_can_be_added(tmp_path: Path) -> None:
    model = HubModel(build("ridge", filters=[2], kernel_size=3), {})
    model.save_pretrained(tmp_path, model_card_kwargs={"license": "mit"})
    assert metadata(tmp_path / "README.md")["license"] == "mit"
    with pytest.raises(UsageError, match="by name"):
        model.generate_model_card("mit")


def test_an_edited_readme_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "model.safetensors").write_text("old")
    saved(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    require_same(tmp_path / "model.safetensors", weights_file(DEFAULT))


def test_the_readme_is_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a README.md would stay for ever, since it is not replaced."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    model = HubModel(Tikhonov(), {})
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").unlink()
    monkeypatch.setattr("equipoise.hub.save_regularizer", lambda *_: None)
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        model.save_pretrained(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="folder"):
        HubModel(Tikhonov(), {}).save_pretrained(tmp_path / "file")


def test_the_cache_needs_no_configuration(tmp_path: Path) -> None:
    """The mixin's own from_pretrained fails here: it asks for a config.json."""
    content = weights_file(DEFAULT).read_bytes()
    cached(tmp_path, "someone/denoiser", {"model.safetensors": content})
    model = HubModel.from_pretrained("someone/denoiser", cache_dir=tmp_path)
    assert model.card == shipped(DEFAULT)[1]


def test_what_is_pushed_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def create_repo(api: HfApi, repo_id: str, **options: Any) -> SimpleNamespace:
        asked.update(token=api.token, created=repo_id, private=options["private"])
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(_: HfApi, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        shutil.copytree(folder_path, tmp_path / "pushed")
        asked.update(pushed=repo_id, revision=options["revision"])
        return "address"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    model = HubModel.from_pretrained(DEFAULT)
    found = model.push_to_hub("someone/denoiser", private=True, token="secret", branch="new")
    assert found == "address"
    assert asked == {
        "token": "secret",
        "created": "someone/denoiser",
        "private": True,
        "pushed": "someone/denoiser",
        "revision": "new",
    }
    folder, pushed = saved(tmp_path / "saved"), tmp_path / "pushed"
    assert {file.name for file in pushed.iterdir()} == {"model.safetensors", "README.md"}
    assert (pushed / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    require_same(pushed / "model.safetensors", weights_file(DEFAULT))


def test_a_hub_out_of_reach_is_said() -> None:
    with pytest.raises(OutputError, match=r"(?s)'someone/x' .* was not written.*offline"):
        HubModel(Tikhonov(), {}).push_to_hub("someone/x")


def test_no_repository_is_made_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: made.append(0))
    with pytest.raises(UsageError, match="JSON"):
        HubModel(Tikhonov(), {"record": object()}).push_to_hub("a/b")
    assert not made


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors"):
        pretrained(tmp_path)
    for missing in (tmp_path / "missing", "some/missing.safetensors", "./missing", "a/b/c"):
        with pytest.raises(WeightsError, match="There is no file or folder"):
            pretrained(missing)
    (tmp_path / "weights.pt").write_text("")
    with pytest.raises(WeightsError, match="never pickles"):
        pretrained(tmp_path / "weights.pt")


def test_broken_weights_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path) / "model.safetensors"
    content = file.read_bytes()
    for broken in (b"", content[:100], content[:-1], content[:-1] + b"x", b"no tensors" * 9):
        file.write_bytes(broken)
        with pytest.raises(WeightsError, match="model"):
            pretrained(tmp_path)


def test_noise_needs_a_card(tmp_path: Path) -> None:
    save_regularizer(tmp_path / "model.safetensors", Tikhonov(), {})
    assert isinstance(pretrained(tmp_path), Tikhonov)
    with pytest.raises(UsageError, match="no card"):
        pretrained(tmp_path, noise=0.1)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "equipoise.hub")
    with pytest.raises(MissingExtraError, match=r"pip install 'equipoise\[hub\]'"):
        importlib.import_module("equipoise.hub")
