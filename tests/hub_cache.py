"""The Hugging Face hub's cache with a repository in it, as a download leaves it."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.file_download import repo_folder_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(cache: Path, repository: str, files: dict[str, bytes]) -> None:
    """Write the cache's folders: blobs, a snapshot that links to them, and where main is."""
    folder = cache / repo_folder_name(repo_id=repository, repo_type="model")
    snapshot = folder / "snapshots" / COMMIT
    for part in (folder / "blobs", folder / "refs", snapshot):
        part.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for index, (name, content) in enumerate(files.items()):
        (folder / "blobs" / f"{index:040x}").write_bytes(content)
        (snapshot / name).symlink_to(Path("../../blobs") / f"{index:040x}")
