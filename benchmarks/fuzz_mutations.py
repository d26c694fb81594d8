"""Damage to files: what a broken disk, a cut download or another writer might do, from a seed."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from random import Random
from typing import Literal

#: Bytes at the beginning in which numbers are changed most often: headers are there.
_HEAD = 256
#: Integers at which programs go wrong.
_NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    16,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)
#: What is written in the place of a number in a text.
_TEXTS = (
    *(b"0", b"-1", b"1e999", b"nan", b"inf", b"99999999999999999999", b"9" * 5000, b"0.5"),
    *(
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"[" * 2000,
        b'{"a":' * 2000,
        b"(" * 300,
        b'"x"',
        b"0x" + b"f" * 6000,
    ),
)
_DIGITS = re.compile(rb"[0-9]+")


def mutated(content: bytes, others: list[bytes], random: Random) -> bytes:
    """Content with one to four changes.

    Args:
        content: a file.
        others: files of the same kind, of which pieces are taken.
        random: decides everything.
    """
    data = content
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        change = random.choice((_flip, _flip, _overwrite, _number, _number, _digits, _cut, _insert))
        data = change(data, random) if random.random() < 0.92 else _splice(data, others, random)
    return data


def _place(data: bytes, random: Random) -> int:
    """A place in the data, at the beginning more often than elsewhere."""
    end = len(data) if random.random() < 0.5 else min(len(data), _HEAD)
    return random.randrange(end) if end else 0


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, random: Random) -> bytes:
    at, new = _place(data, random), random.randbytes(random.choice((1, 2, 4, 16)))
    return data[:at] + new + data[at + len(new) :]


def _number(data: bytes, random: Random) -> bytes:
    """Write another integer of one to eight bytes, in either order of bytes."""
    at, size = _place(data, random), random.choice((1, 2, 4, 8))
    order: Literal["little", "big"] = "little" if random.random() < 0.5 else "big"
    found = int.from_bytes(data[at : at + size], order)
    near = (found + random.choice((-1, 1)), found * 2, random.getrandbits(8 * size))
    value = random.choice((*_NUMBERS, *near)) % 2 ** (8 * size)
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


def _digits(data: bytes, random: Random) -> bytes:
    """Write something else in the place of a number of decimal digits."""
    numbers = list(_DIGITS.finditer(data, 0, 4096))
    if not numbers:
        return _flip(data, random)
    start, end = random.choice(numbers).span()
    return data[:start] + random.choice(_TEXTS) + data[end:]


def _cut(data: bytes, random: Random) -> bytes:
    """Lose the end, or a piece."""
    at = _place(data, random)
    return (
        data[:at] if random.random() < 0.5 else data[:at] + data[at + random.choice((1, 4, 64)) :]
    )


def _insert(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    piece = random.choice((random.randbytes(4), bytes(64), data[at : at + 32]))
    return data[:at] + piece * random.choice((1, 1, 30)) + data[at:]


def _splice(data: bytes, others: list[bytes], random: Random) -> bytes:
    """The beginning of one file and the end of another."""
    other = random.choice(others)
    return data[: _place(data, random)] + other[_place(other, random) :]


def with_checksums(png: bytes, before: bytes) -> bytes:
    """A PNG whose chunks have the checksums that belong to what they hold now.

    Args:
        png: the damaged file.
        before: the file that it was.
    """
    mended, at = bytearray(png[:8]), 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        body = png[at + 4 : at + 8 + length]
        mended += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(mended) + png[at:]


def sealed(content: bytes, before: bytes) -> bytes:
    """A file of tensors with the length of header and the checksum that belong to it now.

    Args:
        content: the damaged file; its last bytes are taken for the tensors, as many as there were.
        before: the file that it was.
    """
    tensors = len(before) - 8 - int.from_bytes(before[:8], "little")
    header = content[8 : max(8, len(content) - tensors)]
    header += b" " * (-len(header) % 8)
    content = struct.pack("<Q", len(header)) + header + content[len(content) - tensors :]
    found = re.search(rb'"sha256":"([0-9a-f]{64})"', header)
    if found is None:
        return content
    start, stop = (8 + place for place in found.span(1))
    blank = content[:start] + b"0" * 64 + content[stop:]
    return content[:start] + hashlib.sha256(blank).hexdigest().encode() + content[stop:]
