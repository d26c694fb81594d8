"""Model cards say what cards and records say."""

from __future__ import annotations

import json

import pytest

from equipoise import load_regularizer
from equipoise.errors import WeightsError
from equipoise.regularizers import build
from equipoise.shipped import DEFAULT, shipped
from equipoise.shipped.description import description, facts, licence_entries
from equipoise.shipped.models import weights_file


def test_all_of_a_card_is_said() -> None:
    regularizer, record = load_regularizer(weights_file(DEFAULT))
    _, card = shipped(DEFAULT)
    text = description(regularizer, record)
    assert text.startswith(f"# {card.name}\n")
    assert all(f"- {head}: {words}\n" in text for head, words in facts(card).items())
    for words in (card.guarantee, card.licence, card.command, card.citation, "PROVED"):
        assert words in text
    for result in card.results:
        assert f"| {result.data} | {255 * result.noise:.3g} |" in text
        assert f"| {result.psnr:.2f} | {result.converged} of {result.images} |" in text
    for level in card.levels:
        assert f"| {255 * level.noise:.3g} | {level.strength:.4g} | {level.scale:.4g} |" in text
    config = text.partition("```json\n")[2].partition("```")[0]
    assert json.loads(config) == regularizer.config
    assert 'equipoise.pretrained("OWNER/NAME", noise=25 / 255)' in text


def test_without_a_card_the_record_is_said() -> None:
    regularizer = build("ridge", filters=[2], kernel_size=3)
    record = {
        "problem": "denoising",
        "data": {"name": "photographs", "channels": 1},
        "provenance": {"versions": {"equipoise": "0.1.0"}},
    }
    text = description(regularizer, record)
    parameters = sum(p.numel() for p in regularizer.parameters())
    for line in (
        f"- Regulariser: ridge, {parameters} parameters",
        "- Problem: denoising",
        "- Trained on: photographs",
        '- Versions: {"equipoise": "0.1.0"}',
    ):
        assert f"{line}\n" in text
    lipschitz = regularizer.traits().lipschitz
    assert lipschitz is not None
    assert f"- Lipschitz constant: {lipschitz.value:.4g}, PROVED\n" in text
    assert 'equipoise.pretrained("OWNER/NAME")' in text
    assert "Problem" not in description(regularizer, {"data": 3, "provenance": []})


def test_a_damaged_card_is_refused() -> None:
    with pytest.raises(WeightsError, match="damaged"):
        description(build("tikhonov"), {"card": 3})


@pytest.mark.parametrize(
    ("licence", "entries"),
    [
        ("CC BY-NC 4.0 (non-commercial)", {"license": "cc-by-nc-4.0"}),
        ("MIT", {"license": "mit"}),
        ("ask us", {"license": "other", "license_name": "ask us"}),
    ],
)
def test_licences_are_those_of_the_hub(licence: str, entries: dict[str, str]) -> None:
    _, card = shipped(DEFAULT)
    assert licence_entries(card.model_copy(update={"licence": licence})) == entries
    assert licence_entries(None) == {}
