"""The weights file of a repository on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from equipoise.decoding import said
from equipoise.environment import __version__
from equipoise.errors import MissingExtraError, WeightsError

#: What the weights file is called in a folder or repository; the hub counts its parameters.
FILE = "model.safetensors"


def downloaded(repository: str, **options: Any) -> Path:
    """The weights file of a repository, from the hub's cache on this computer where it is there.

    Args:
        repository: ``"owner/name"``.
        options: of ``huggingface_hub.hf_hub_download``: revision, token, cache_dir and others.

    Raises:
        MissingExtraError: if ``equipoise[hub]`` is not installed.
        WeightsError: if the hub cannot be reached and the file is not in the cache, there is no
            such repository, or it holds something else.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingExtraError(
            f"No folder is called '{repository}' here, and the Hugging Face hub", "hub"
        ) from error
    where = f"'{repository}' on the Hugging Face hub"
    try:
        return Path(
            hf_hub_download(
                repository,
                FILE,
                library_name="equipoise",
                library_version=__version__,
                **options,
            )
        )
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"No folder is called '{repository}' here, its weights are not in the hub's cache, and "
            "the Hugging Face hub cannot be reached: check the name and the connection (and "
            "HF_HUB_OFFLINE)."
        ) from error
    except EntryNotFoundError as error:
        raise WeightsError(
            f"{where} holds no {FILE}: it is no regulariser that equipoise wrote."
        ) from error
    except Exception as error:  # no such repository, no permission, full disk, wrong options
        raise WeightsError(
            f"{where} cannot be fetched: {said(error)}. Check the name; a private one needs "
            "'hf auth login'."
        ) from error
