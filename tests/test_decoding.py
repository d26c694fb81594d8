"""Whatever a decoder raises becomes one plain error that says which file and what to do."""

from __future__ import annotations

import pytest

from equipoise.decoding import decoding
from equipoise.errors import InputError, UsageError, WeightsError


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (KeyError("shape"), "'shape'"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"),
            "more memory than there is",
        ),
        (AssertionError(), "AssertionError"),
        (ValueError("two\nlines with a \udc80\x1b[0m."), r"two lines with a \\udc80.*0m; save"),
        (RuntimeError("x" * 5000), r"x{300} \.\.\."),
        (Warning("odd"), "odd"),
    ],
)
def test_whatever_a_decoder_raises_is_one_plain_error(raised: Exception, said: str) -> None:
    with (
        pytest.raises(WeightsError, match=rf"^The thing 'a\.x' cannot be read.*{said}") as caught,
        decoding("a.x", "thing", WeightsError, "save it again"),
    ):
        raise raised
    assert str(caught.value).endswith("; save it again.")
    assert str(caught.value).isprintable()
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [UsageError("mine"), InputError("mine"), KeyboardInterrupt()])
def test_errors_of_our_own_and_interruptions_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, decoding("a.x", "thing"):
        raise raised
    assert caught.value is raised
