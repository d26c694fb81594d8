"""What is known of trained weights, in words: for the terminal and for a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from equipoise.regularizers import Regularizer
from equipoise.shipped.card import Card, card_of

#: Licences by which the hub knows them, of those that weights usually have.
_LICENCES = (
    *("mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0"),
)


def facts(card: Card) -> dict[str, str]:
    """What a card says beside its tables, by head."""
    return {
        "Regulariser": f"{card.about}, {card.parameters:,} parameters",
        "Guarantee": card.guarantee,
        "Constants": f"modulus {card.modulus:.4g}, Lipschitz constant {card.lipschitz:.4g}, PROVED",
        "alpha": ", ".join(f"{task} {factor:.2g}" for task, factor in card.factors.items()) or "1",
        "Trained on": f"{card.trained_on}; {card.seconds / 60:.0f} minutes",
        "Their terms": card.terms,
        "Licence": card.licence,
        "Command": card.command,
        "Cite": card.citation,
    }


def result_rows(card: Card) -> list[tuple[str, ...]]:
    """How well images were denoised: set, noise of 255, noisy and restored in dB, converged."""
    return [
        (
            result.data,
            f"{255 * result.noise:.3g}",
            f"{result.input_psnr:.2f}",
            f"{result.psnr:.2f}",
            f"{result.converged} of {result.images}",
        )
        for result in card.results
    ]


#: Heads of :func:`result_rows`.
RESULT_HEADS = ("Images", "Noise, of 255", "Noisy (dB)", "Restored (dB)", "Converged")


def licence_entries(card: Card | None) -> dict[str, str]:
    """The licence as the hub's metadata have it; empty where there is no card."""
    if card is None:
        return {}
    known = card.licence.partition(" (")[0].lower().replace(" ", "-")
    if known in _LICENCES:
        return {"license": known}
    return {"license": "other", "license_name": card.licence}


def description(regularizer: Regularizer, record: dict[str, Any]) -> str:
    """A model card in Markdown, without metadata.

    Where the record has a card, it says what that says; else architecture, proved constants, and
    what the training wrote down of problem, data and versions.

    Args:
        regularizer: R.
        record: of its weights file.

    Raises:
        WeightsError: if the card in the record is damaged.
    """
    card = card_of(record)
    noise = "" if card is None else ", noise=25 / 255"
    parts = [
        f"# {'Learned regulariser' if card is None else card.name}",
        "Weights of the Python package equipoise: a regularisation operator R of inverse problems "
        "in imaging, a deepinv prior.",
        "```python\nimport equipoise\n\n"
        f'R = equipoise.pretrained("OWNER/NAME"{noise})  # this repository or folder\n```',
        "\n".join(f"- {head}: {words}" for head, words in _facts(regularizer, record, card)),
    ]
    if card is not None:
        levels = [
            (f"{255 * level.noise:.3g}", f"{level.strength:.4g}", f"{level.scale:.4g}")
            for level in card.levels
        ]
        parts += [
            _table(RESULT_HEADS, result_rows(card)),
            _table(("Noise, of 255", "Strength", "Scale"), levels),
        ]
    parts.append(f"Architecture:\n\n```json\n{json.dumps(regularizer.config, indent=2)}\n```")
    return "\n\n".join(parts) + "\n"


def _facts(
    regularizer: Regularizer, record: dict[str, Any], card: Card | None
) -> list[tuple[str, str]]:
    if card is not None:
        return list(facts(card).items())
    traits = regularizer.traits()
    parameters = sum(p.numel() for p in regularizer.parameters())
    found = [("Regulariser", f"{regularizer.config['name']}, {parameters:,} parameters")]
    found += [
        (head, f"{bound.value:.4g}, {bound.kind.name}")
        for head, bound in (("Modulus", traits.modulus), ("Lipschitz constant", traits.lipschitz))
        if bound is not None
    ]
    said = (
        ("Problem", record, "problem"),
        ("Trained on", record.get("data"), "name"),
        ("Versions", record.get("provenance"), "versions"),
    )
    for head, part, key in said:
        if isinstance(part, dict) and key in part:
            value = part[key]
            found.append((head, value if isinstance(value, str) else json.dumps(value)))
    return found


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
