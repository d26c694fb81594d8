"""Which rows a comparison has."""

from __future__ import annotations

from typing import get_args

import pydantic
import pytest

from equipoise.compare import CompareSettings
from equipoise.compare.methods import CANDIDATES, METHODS, specs
from equipoise.compare.records import Method
from equipoise.errors import UnknownNameError, UsageError
from equipoise.learn.rates import usual_learning_rate
from equipoise.regularizers import build
from equipoise.settings.task import Task


def rows(*methods: str, regularizers: tuple[str, ...] | None = None) -> list[tuple[str, str]]:
    return [(spec.method, spec.label) for spec in specs(methods, regularizers)]


def test_main_job_has_the_promised_rows() -> None:
    assert rows(*CompareSettings().methods) == [
        ("tikhonov", "Tikhonov"),
        ("tv", "Total variation"),
        ("bilevel", "Tied pair, bilevel"),
        ("bilevel", "Convex ridge, bilevel"),
        ("equilibrium", "Untied pair, equilibrium"),
        ("equilibrium", "Untied pair at half width, equilibrium"),
    ]


def test_the_half_width_pair_matches_the_tied_one_in_parameters() -> None:
    def count(name: str) -> int:
        entry = CANDIDATES[name]
        return sum(p.numel() for p in build(entry.name, **entry.config).parameters())

    tied, untied, half = map(count, ("tied-conv", "untied-conv", "untied-conv-half"))
    assert abs(half - tied) < 0.05 * tied
    assert untied > 1.9 * tied


def test_rows_follow_the_order_of_the_methods() -> None:
    assert [method for method, _ in rows("unrolled", "tv", "jacobian-free")] == [
        "unrolled",
        "tv",
        "jacobian-free",
    ]


def test_named_regularizers_replace_the_defaults_where_they_suit() -> None:
    both = ("contractive", "fields-of-experts")
    assert rows("tv", "bilevel", "equilibrium", regularizers=both) == [
        ("tv", "Total variation"),
        ("bilevel", "Fields of experts, bilevel"),
        ("equilibrium", "Contractive residual, equilibrium"),
        ("equilibrium", "Fields of experts, equilibrium"),
    ]


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_can_be_built_and_is_the_gradient_it_claims_to_be(name: str) -> None:
    (spec,) = specs(("equilibrium",), (name,))
    regularizer = build(spec.regularizer, **spec.config)
    assert regularizer.traits().gradient_field is CANDIDATES[name].gradient_field
    assert spec.mode == "equilibrium"
    assert 0 < usual_learning_rate(spec.regularizer) <= 0.3


def test_methods_have_names_that_the_summary_knows() -> None:
    assert set(METHODS) <= set(get_args(Method))
    modes = {spec.method: spec.mode for spec in specs(METHODS, None)}
    assert modes["tv"] is modes["tikhonov"] is None
    assert {m for m in modes.values() if m} == {
        "bilevel",
        "equilibrium",
        "jacobian-free",
        "unrolled",
        "source-condition",
    }


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'bilevel'"):
        specs(("bilevle",), None)
    with pytest.raises(UnknownNameError, match="Did you mean 'untied-conv'"):
        specs(("equilibrium",), ("untide-conv",))
    # Settings say the same through pydantic's own error.
    with pytest.raises(pydantic.ValidationError, match="Did you mean 'denoise'"):
        CompareSettings(tasks=(Task(name="denoize"),))
    with pytest.raises(pydantic.ValidationError, match="Did you mean 'unrolled'"):
        CompareSettings(methods=("tv", "unroled"))


def test_bilevel_learning_of_fields_without_potential_is_refused() -> None:
    with pytest.raises(UsageError, match="--methods equilibrium"):
        specs(("tv", "bilevel"), ("untied-conv", "contractive"))
