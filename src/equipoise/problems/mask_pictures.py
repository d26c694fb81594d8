"""Masks that someone painted: white where pixels are known, one other colour where they are not."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.errors import InputError
from equipoise.images import Image

#: From which share of full brightness on, in every channel, a pixel is white (JPEG included).
WHITE = 0.96
#: Difference in a channel up to which a pixel has the colour of the hole, and from which on that
#: colour is another than white.
SAME, OTHER = 0.12, 0.1
#: Largest share of the pixels that may be neither (soft edges), of all and of those not white.
UNCLEAR, UNCLEAR_OF_HOLE = 0.05, 0.5


def known_pixels(image: Image, name: str) -> Tensor:
    """Which pixels a picture says are known: the white ones.

    A gray picture of exactly two values of which one is 0 (0 and 1, black and gray) knows those
    that are not 0. Otherwise white pixels are known, and those that are not white must have one
    colour, whichever it is; pixels between the two, as at soft edges, go to the nearer one.

    Args:
        image: of one or three channels.
        name: what messages call it.

    Returns:
        Float64 ones (known) and zeros, shape (H, W).

    Raises:
        InputError: if the picture is not clearly a mask: partly transparent, of one colour, without
            white, or of many colours.
    """
    require_opaque(image, name)
    colours = image.pixels.to(torch.float64)
    if len(colours) not in (1, 3):
        raise InputError(f"The mask '{name}' has {len(colours)} channels; save it as gray or RGB.")
    gray = bool((colours == colours[:1]).all())
    values = colours[0].unique() if gray else None
    if values is not None and len(values) == 1:
        what = "knows no pixel" if float(values[0]) <= 0 else "is of one colour"
        raise InputError(f"The mask '{name}' {what}: paint known pixels white, missing ones black.")
    if values is not None and len(values) == 2 and float(values[0]) == 0:
        return (colours[0] != 0).to(torch.float64)
    white = ((colours >= WHITE) & (colours <= 1)).all(0)
    others = colours[:, ~white]
    if not bool(white.any()) or others.shape[1] == 0:
        raise _unclear(name, "it has no white" if others.shape[1] else "it is white all over")
    hole = others.median(dim=1).values[:, None, None]
    if float((1 - hole).abs().max()) < OTHER:
        raise _unclear(name, "what is not white is nearly white")
    distance = (colours - hole).abs().amax(0)
    unclear = ~white & (distance > SAME)
    count, limit = (
        int(unclear.sum()),
        min(UNCLEAR * white.numel(), UNCLEAR_OF_HOLE * others.shape[1]),
    )
    if count > limit:
        share = 100 * count / white.numel()
        raise _unclear(name, f"{share:.3g} % of its pixels are of further colours")
    nearer = (1 - colours).abs().amax(0) < distance
    return (white | (unclear & nearer)).to(torch.float64)


def require_opaque(image: Image, name: str) -> None:
    """Refuse a picture that is partly transparent.

    Raises:
        InputError: saying so.
    """
    if image.alpha is not None and not bool((image.alpha == 1).all()):
        raise InputError(
            f"'{name}' is partly transparent, which says nothing of a mask or kernel: flatten it."
        )


def _unclear(name: str, reason: str) -> InputError:
    return InputError(
        f"'{name}' is not clearly a mask, {reason}: paint known pixels white and missing ones in "
        "one other colour, best black, without soft edges."
    )
