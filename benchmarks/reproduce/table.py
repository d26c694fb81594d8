"""What the weights that ship reach, for the README, from their cards."""

from __future__ import annotations

from pathlib import Path

from benchmarks.machine import ROOT
from equipoise.shipped import Card, names, shipped

BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"
NOISES = (5, 15, 25, 50)


def fill(readme: Path = ROOT / "README.md") -> None:
    """Replace what stands between the two markers."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{words()}{END}{after}", encoding="utf-8")


def words() -> str:
    """One row for each set of photographs that a model was scored on."""
    heads = ["name", "regulariser", "proved", "images", *(f"{noise}/255" for noise in NOISES)]
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join(['---'] * 4 + ['---:'] * 4)} |"]
    cards = [shipped(name)[1] for name in names()]
    for card in cards:
        sets = dict.fromkeys(result.data for result in card.results)
        lines += [f"| {' | '.join(_row(card, data))} |" for data in sets]
    trained = "; ".join(f"`{card.name}`: `{card.command}`" for card in cards)
    return "\n".join(lines) + (
        "\n\nMean PSNR in dB of denoising, alpha 1, every solve converged, noise of one generator "
        "with seed 0, nothing clipped. On set12, and for colour on the images of bsds300_color "
        "whose number ends in 9, weights, strengths and scales were chosen; no training saw them. "
        f"Written by `python -m benchmarks.reproduce table`; trained by {trained}.\n"
    )


def _row(card: Card, data: str) -> list[str]:
    reached = {round(255 * r.noise): r.psnr for r in card.results if r.data == data}
    numbers = [f"{reached[noise]:.2f}" if noise in reached else "" for noise in NOISES]
    known = [f"`{card.name}`", f"{card.about}, {card.parameters:,} parameters", card.guarantee]
    return [*known, data, *numbers]
