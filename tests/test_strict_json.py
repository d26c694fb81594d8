"""JSON without NaN and infinity, which can be read back."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from equipoise.bounds import Kind
from equipoise.errors import OutputError
from equipoise.strict_json import json_text, jsonable, write_json


def refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is not JSON")


def test_numbers_that_json_lacks_become_null_and_texts_at_any_depth() -> None:
    content = {
        "a": (1, nan, [inf, -inf, 0.5]),
        2: np.float64(inf),
        "kind": Kind.PROVED,
        "none": None,
    }
    found = json.loads(json_text(content), parse_constant=refuse)
    assert found == {
        "a": [1, None, ["inf", "-inf", 0.5]],
        "2": "inf",
        "kind": "PROVED",
        "none": None,
    }
    assert [float(text) for text in found["a"][2]] == [inf, -inf, 0.5]


def test_what_json_knows_stays_as_it_is() -> None:
    content = {"a": [True, 3, 1e-300, "inf", {"b": None}]}
    assert jsonable(content) == content


def test_the_file_holds_the_text(tmp_path: Path) -> None:
    write_json(["ä", nan], tmp_path / "a.json")
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == json_text(["ä", nan]) + "\n"
    with pytest.raises(OutputError, match="No such file"):
        write_json([], tmp_path / "none" / "a.json")
