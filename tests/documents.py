"""The documents, as text."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md"),
    *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md"))),
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
