"""Binary PGM and PPM of 8 and 16 bits, which Pillow would reduce to 8 where they are colour."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from equipoise.errors import InputError
from equipoise.images.decoded import Decoded, check_size

_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_HEAD = re.compile(
    rb"P([56])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s"
)


def decode_netpbm(file: Path) -> Decoded:
    """Read a file that begins with P5 (gray) or P6 (colour); its largest value stands for 1."""
    content = file.read_bytes()
    head = _HEAD.match(content)
    if head is None:
        raise InputError(f"'{file}' has no header of a PGM or PPM file.")
    width, height, white = (int(head[k]) for k in (2, 3, 4))
    if not 0 < white < 65536:
        raise InputError(f"'{file}' says that its largest value is {white}; it is 1 to 65535.")
    shape = (height, width, 1 if head[1] == b"5" else 3)
    check_size(file, shape)
    kind = np.dtype(np.uint8 if white < 256 else ">u2")
    count = shape[0] * shape[1] * shape[2]
    values = np.frombuffer(content, kind, count, offset=head.end()).reshape(shape)
    if count and int(values.max()) > white:
        raise InputError(f"'{file}' has values above its largest one, {white}: it is damaged.")
    return Decoded(values, white=white)
