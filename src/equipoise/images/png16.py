"""PNG with several channels of 16 bits, which Pillow would reduce to 8 bits.

Numbers in brackets are sections of the PNG specification (W3C, third edition).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Number of channels by colour type (11.2.1); palettes (3) have no 16-bit form.
CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}
SIGNATURE = b"\x89PNG\r\n\x1a\n"

Values = NDArray[np.uint16]


def is_deep_colour(head: bytes) -> bool:
    """Whether the first 26 bytes of a file announce a PNG with several channels of 16 bits."""
    return len(head) >= 26 and head[12:16] == b"IHDR" and head[24] == 16 and head[25] != 0


def encode_png16(values: Values) -> bytes:
    """Encode an image.

    Every row is stored as its difference to the row above (filter type 2 of section 9).

    Args:
        values: shape (H, W, C), C from 1 to 4.
    """
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    rows = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    data = np.concatenate([np.full((height, 1), 2, np.uint8), rows], axis=1).tobytes()
    colour = next(code for code, count in CHANNELS.items() if count == channels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return SIGNATURE + b"".join(_pack(kind, body) for kind, body in chunks)


def decode_png16(data: bytes) -> Values:
    """Decode an image.

    Args:
        data: the whole file.

    Returns:
        Array of shape (H, W, C).

    Raises:
        ValueError: if the file is damaged, truncated, interlaced or has a transparent colour.
    """
    chunks = _unpack(data)
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if interlaced or b"tRNS" in chunks:
        raise ValueError(
            "16-bit colour PNG with interlacing or a transparent colour is not supported, "
            "save it without."
        )
    size = 2 * CHANNELS[colour]
    data = zlib.decompress(chunks[b"IDAT"])
    if len(data) != height * (1 + width * size):
        raise ValueError("the number of pixels does not agree with the header.")
    rows = np.frombuffer(data, np.uint8).reshape(height, 1 + width * size)
    kinds, filtered = rows[:, 0], rows[:, 1:].reshape(height, width, size)
    if kinds.max() > 4:
        raise ValueError("unknown row filter.")
    pixels = np.ascontiguousarray(_unfilter(kinds, filtered))
    return pixels.view(">u2").reshape(height, width, -1).astype(np.uint16)


def _unfilter(kinds: NDArray[np.uint8], filtered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo the row filters (9.2): each pixel is predicted from left (a), above (b), both (c).

    Predictions need the pixels before, so the image is swept diagonal by diagonal; a diagonal is
    done at once.
    """
    height, width, size = filtered.shape
    out = np.zeros((height + 1, width + 1, size), np.uint8)  # one row and column of zeros before
    for diagonal in range(height + width - 1):
        r = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        k = diagonal - r
        a, b, c = (
            out[rows, columns].astype(np.int16)
            for rows, columns in ((r + 1, k), (r, k + 1), (r, k))
        )
        candidates = np.stack([np.zeros_like(a), a, b, (a + b) // 2, _paeth(a, b, c)])
        predicted = candidates[kinds[r], np.arange(len(r))]
        out[r + 1, k + 1] = filtered[r, k] + predicted.astype(np.uint8)
    return out[1:, 1:]


def _paeth(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    """The neighbour nearest to ``a + b - c``; ties go to a, then b (9.4)."""
    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
    return np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))


def _pack(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def _unpack(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a file (5.3), those of one kind joined."""
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while b"IEND" not in chunks:
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            raise ValueError(f"part {kind!r} is damaged.")
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    if not {b"IHDR", b"IDAT"} <= chunks.keys():
        raise ValueError("no pixels.")
    return chunks
