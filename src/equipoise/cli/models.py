"""``equipoise models``: the trained regularisers that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from equipoise.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from equipoise.shipped import Card

Verb = Literal["list", "show", "verify"]


def models(
    context: typer.Context,
    *,
    verb: Annotated[
        Verb,
        typer.Argument(
            metavar="list|show|verify",
            help="list: all of them; show: the card of one; verify: compute again what cards say.",
            show_default=False,
        ),
    ] = "list",
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Which one, also a folder of weights or OWNER/NAME on the Hugging Face hub; "
            "verify takes all without it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Trained regularisers that ship: what they are, what they reach, what is proved of them.

    Exit code 3 if a number on a card is not what is computed.
    """
    from equipoise.shipped import names, shipped

    console = Console()
    if verb == "list":
        if name is not None:
            raise UsageError(f"list takes no name: equipoise models show {name}")
        console.print(_overview([shipped(each)[1] for each in names()]))
    elif verb == "show":
        if name is None:
            raise UsageError(f"Say which one: {', '.join(names())}.")
        _show(shipped(name)[1], console)
    else:
        _verify(names() if name is None else [name], console)


def _overview(cards: list[Card]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("Name", "Regulariser", "Images", "Weights for"):
        table.add_column(head)
    for head in ("Parameters", "PSNR (dB) at 25/255"):
        table.add_column(head, justify="right")
    for card in cards:
        images = "colour" if card.channels == 3 else "gray, channel by channel"
        at_25 = (r for r in card.results if abs(255 * r.noise - 25) < 0.01)
        reached = [f"{r.psnr:.2f} on {r.data}" for r in at_25]
        table.add_row(
            card.name, card.about, images, card.licence, f"{card.parameters:,}", *reached[:1]
        )
    return table


def _show(card: Card, console: Console) -> None:
    from equipoise.shipped.description import RESULT_HEADS, facts, result_rows

    for what, words in facts(card).items():
        console.print(f"{what}: {words}", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, head in enumerate(RESULT_HEADS):
        table.add_column(head, justify="right" if index else "left")
    for row in result_rows(card):
        table.add_row(*row)
    console.print(table)


def _verify(chosen: list[str], console: Console) -> None:
    from equipoise.shipped import verify

    wrong: list[str] = []
    for name in chosen:
        for check in verify(name):
            said = "as said" if check.passed else "NOT AS SAID"
            line = f"{name}: {check.what}: {check.said:.4g} on the card, {check.found:.4g} now"
            console.print(f"{line}, {said}", markup=False, highlight=False, soft_wrap=True)
            wrong += [] if check.passed else [name]
    if wrong:
        names = ", ".join(dict.fromkeys(wrong))
        raise WeightsError(f"Not what their cards say: {names}. Install equipoise again.")
