"""Damage below the encoding: files that are well-formed, and say something odd."""

from __future__ import annotations

import json
import struct
import zlib
from random import Random
from typing import Any

from benchmarks.fuzz_mutations import mutated, sealed, with_checksums

#: What is written in the place of a value.
_ODD: tuple[Any, ...] = (
    *(0, 1, -1, 2, 255, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *(None, True, False, "", "x", "x" * 1000, "\u0000", "\ud800", "1", "nan", "tikhonov", "scaled"),
    *(
        [],
        {},
        [0] * 40,
        [[1, 2], [3]],
        {"name": "tv"},
        {"tensor": "record/0"},
        "F32",
        [2**40, 2**40],
    ),
)
_ODD_TEXTS = (
    *(
        "0",
        "-1",
        "1e308",
        ".nan",
        ".inf",
        "9" * 5000,
        "0x" + "f" * 6000,
        "1:2:3",
        "0b1",
        "~",
        "yes",
    ),
    *("[]", "{}", "[[1], {a: 2}]", "&a 1", "*a", "!!python/name:os.system", "!!int x", "!!set {a}"),
    *(
        "!!binary '='",
        "2001-99-99",
        "2001-01-01",
        '"\\ud800"',
        '"\\0"',
        "|",
        "- 1",
        "? a",
        "x" * 5000,
    ),
    *("[" * 3000, "{a: " * 3000, "!!omap [a]", "<<", "%TAG", "--- 3", "''"),
)
_COLOURS, _BITS = (0, 1, 2, 3, 4, 5, 6, 7), (0, 1, 2, 3, 4, 8, 15, 16, 32)
_CHUNKS = (b"pHYs", b"iCCP", b"tRNS", b"eXIf", b"PLTE", b"gAMA", b"acTL", b"zTXt", b"fcTL", b"sBIT")


def changed_json(content: bytes, random: Random) -> bytes:
    """A file of tensors with another value in its configuration, record, facts or header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    texts = header["__metadata__"]
    for _ in range(random.choice((1, 1, 2, 3))):
        key = random.choice([*texts, "", ""])
        if key in ("", "format", "sha256"):
            header = _leaf_changed(header, random)
            texts = header.get("__metadata__") if isinstance(header, dict) else None
            if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
                break
        else:
            try:
                texts[key] = json.dumps(_leaf_changed(json.loads(texts[key]), random))
            except ValueError:  # an earlier change has made it no JSON
                break
    changed = json.dumps(header, separators=(",", ":")).encode()
    return sealed(struct.pack("<Q", len(changed)) + changed + content[8 + length :], content)


def _leaf_changed(value: Any, random: Random) -> Any:
    """The same nest of lists and dictionaries with one place changed, missing or added."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        if random.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        if random.random() < 0.1:
            return {**value, "extra": random.choice(_ODD)}
        return {**value, key: _leaf_changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.7:
        place = random.randrange(len(value))
        return [*value[:place], _leaf_changed(value[place], random), *value[place + 1 :]]
    return random.choice(_ODD)


def changed_png(content: bytes, random: Random) -> bytes:
    """A PNG with another header, other pixels, or a further chunk."""
    chunks = _chunks(content)
    for _ in range(random.choice((1, 1, 2))):
        kind, body = chunks[place := random.randrange(len(chunks))]
        if random.random() < 0.3:
            new = random.randbytes(random.choice((1, 4, 6, 9, 12, 60, 300)))
            chunks.insert(place, (random.choice(_CHUNKS), new))
        elif kind == b"IHDR":
            numbers = list(struct.unpack(">IIBBBBB", body))
            field = random.randrange(7)
            choices = {2: _BITS, 3: _COLOURS}.get(field, (0, 1, 2, 255))
            numbers[field] = random.choice(choices)
            chunks[place] = kind, struct.pack(">IIBBBBB", *numbers)
        elif kind == b"IDAT":
            try:
                raw = zlib.decompress(body)
            except zlib.error:
                continue
            chunks[place] = kind, zlib.compress(mutated(raw, [raw], random))
        else:
            chunks[place] = kind, mutated(body, [body], random)
    whole = b"".join(struct.pack(">I", len(b)) + k + b + bytes(4) for k, b in chunks)
    return with_checksums(content[:8] + whole, content)


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def changed_yaml(content: bytes, random: Random) -> bytes:
    """A text in YAML with other values, keys or lines."""
    lines = content.decode().splitlines()
    for _ in range(random.choice((1, 1, 2, 3))):
        place = random.randrange(len(lines))
        key, colon, value = lines[place].partition(":")
        odd = random.choice(_ODD_TEXTS)
        lines[place] = random.choice(
            (f"{key}: {odd}", f"{key}: {odd}", f"{odd}: {value}", f" {lines[place]}", odd)
        )
        if random.random() < 0.2:
            lines.insert(place, random.choice(lines) if colon else odd)
    return "\n".join(lines).encode("utf-8", "surrogatepass")
