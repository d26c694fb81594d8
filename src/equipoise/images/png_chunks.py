"""What a PNG says besides its pixels: resolution (pHYs) and colour profile (iCCP)."""

from __future__ import annotations

import struct
import zlib

from equipoise.images.image import Resolution

#: Signature and header, which come first in every PNG.
_FIRST = 33
_METRE = 1


def with_chunks(png: bytes, resolution: Resolution | None, profile: bytes | None) -> bytes:
    """The same PNG with a resolution and a profile.

    Args:
        png: a file that has neither.
        resolution: pixels in a length; one without a unit is left out.
        profile: ICC profile.
    """
    chunks = b""
    if profile:
        chunks += _chunk(b"iCCP", b"ICC profile\x00\x00" + zlib.compress(profile))
    pair = resolution and resolution.per_metre()
    if resolution and pair:
        chunks += _chunk(b"pHYs", struct.pack(">IIB", *pair, _METRE))
    return png[:_FIRST] + chunks + png[_FIRST:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
