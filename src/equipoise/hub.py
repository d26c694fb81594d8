"""Regularisers on the Hugging Face hub, and in folders as it has them (extra ``hub``)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from equipoise.decoding import said
from equipoise.errors import MissingExtraError, OutputError, UsageError
from equipoise.files import atomic_write, make_folder
from equipoise.regularizers import Regularizer, load_regularizer, save_regularizer
from equipoise.shipped.card import card_of
from equipoise.shipped.description import description, licence_entries
from equipoise.shipped.download import FILE
from equipoise.shipped.models import weights_file

try:
    from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin
except ImportError as error:
    raise MissingExtraError("equipoise.hub", "hub") from error


class _Readme(ModelCard):
    """A model card that is written in one step."""

    def save(self, filepath: Path | str) -> None:
        """Write it.

        Raises:
            OutputError: if that is impossible.
        """
        atomic_write(filepath, str(self))


class HubModel(
    ModelHubMixin,
    library_name="equipoise",
    pipeline_tag="image-to-image",
    tags=["deepinv", "denoising", "inverse-problems", "regularization"],
):
    """A regulariser and its record, with ``huggingface_hub``'s saving, pushing and loading.

    A folder or repository holds ``model.safetensors``, as ``save_regularizer`` writes it, and
    ``README.md``, the model card. :func:`equipoise.pretrained` reads both kinds.

    Args:
        regularizer: R, one from the catalogue.
        record: of its weights file: ``HubModel(*load_regularizer("weights.safetensors"))``.

    Raises:
        WeightsError: if the card in the record is damaged.
    """

    def __init__(self, regularizer: Regularizer, record: dict[str, Any]) -> None:
        self.regularizer = regularizer
        self.record = record
        self.card = card_of(record)
        self._hub_mixin_config = None  # the mixin's config.json would repeat the record

    @classmethod
    def from_pretrained(  # type: ignore[override]  # of R there are no further arguments
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
    ) -> HubModel:
        """Load what :func:`equipoise.pretrained` does, with its record.

        The mixin's own way asks for a ``config.json`` first, which is not needed here, and without
        a network it fails where the cache has none.

        Args:
            pretrained_model_name_or_path: weights that ship, a folder, a file, or ``"owner/name"``.
            force_download: even if the cache has it; this and the following are for the hub.
            token: for private repositories; None takes that of ``hf auth login``.
            cache_dir: the folder of the cache.
            local_files_only: take the cache alone.
            revision: branch, tag or commit.

        Raises:
            UnknownNameError: if there is none of that name.
            WeightsError: if the file is missing, damaged or of others, or the hub does not give it.
        """
        file = weights_file(
            pretrained_model_name_or_path,
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )
        return cls(*load_regularizer(file))

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write weights file and model card to a folder.

        A weights file that is there is replaced; a ``README.md`` stays, since it may have been
        edited. The mixin removes a ``config.json``.

        Args:
            save_directory: the folder, made if it is missing.
            options: of the mixin, such as ``model_card_kwargs``.

        Returns:
            As the mixin: None, or with ``push_to_hub=True`` the address of the commit.

        Raises:
            OutputError: if a file cannot be written.
            UsageError: if R has no configuration, or the record is not JSON-able.
        """
        make_folder(Path(save_directory))
        return super().save_pretrained(save_directory, **options)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Write weights file and model card to a repository on the hub, made if it is missing.

        Args:
            repo_id: ``"owner/name"``.
            options: of the mixin: private, token, branch, create_pr, commit_message and others.

        Returns:
            The address of the commit.

        Raises:
            OutputError: if the hub cannot be reached or refuses.
            UsageError: if R has no configuration, or the record is not JSON-able.
        """
        with TemporaryDirectory() as tried:  # else the mixin makes a repository before it fails
            self.save_pretrained(tried)
        try:
            return super().push_to_hub(repo_id, **options)
        except Exception as error:  # whatever httpx, the hub or the disk say
            raise OutputError(
                f"'{repo_id}' on the Hugging Face hub was not written: {said(error)}. Check name "
                "and connection, and log in by 'hf auth login'."
            ) from error

    def generate_model_card(self, *args: Any, **metadata: Any) -> ModelCard:
        """The model card: what the record's card says, under the metadata that the hub reads.

        Args:
            args: none.
            metadata: what is added to these or replaced, for example ``license="mit"``; the mixin
                hands on its ``model_card_kwargs``.
        """
        if args:
            raise UsageError("A model card takes its metadata by name: license='mit'.")
        known = self._hub_mixin_info.model_card_data.to_dict()
        data = ModelCardData(**{**known, **licence_entries(self.card), **metadata})
        text = description(self.regularizer, self.record)
        return _Readme(f"---\n{data.to_yaml()}\n---\n\n{text}")

    def _save_pretrained(self, save_directory: Path) -> None:
        save_regularizer(save_directory / FILE, self.regularizer, self.record)
