"""Regularisers by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from equipoise.errors import UnknownNameError, UsageError
from equipoise.regularizers import NAMES, Regularizer, RidgeRegularizer, Scaled, build

#: Arguments without which a name cannot be built.
REQUIRED: dict[str, dict[str, Any]] = {
    "scaled": {"inner": {"name": "tikhonov", "operator": "gradient"}, "strength": 2.0},
    "sum": {"parts": [{"name": "tv"}, {"name": "tikhonov"}], "weights": [1.0, 0.5]},
    "tied-dense": {"image_shape": [1, 4, 5], "features": 6},
    "untied-dense": {"image_shape": [1, 4, 5], "features": 6},
}


def test_all_names_of_the_comparison_are_there() -> None:
    expected = {
        *("tikhonov", "tv", "fields-of-experts", "crr", "wcrr", "tied-conv", "untied-conv"),
        *("tied-dense", "untied-dense", "contractive", "scaled"),
    }
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_configuration_builds_the_same_class_again(name: str) -> None:
    regularizer = build(name, **REQUIRED.get(name, {}))
    assert isinstance(regularizer, Regularizer)
    config = json.loads(json.dumps(regularizer.config))
    again = build(**config)
    assert type(again) is type(regularizer)
    assert again.config == regularizer.config
    shapes = {key: value.shape for key, value in regularizer.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes
    assert config["name"] == regularizer.catalogue_name


@pytest.mark.parametrize(("name", "weak_convexity"), [("crr", 0.0), ("wcrr", 1.0)])
def test_presets_of_the_ridge_regulariser(name: str, weak_convexity: float) -> None:
    regularizer = build(name, filters=(2, 3), kernel_size=3)
    assert isinstance(regularizer, RidgeRegularizer)
    assert regularizer.config["weak_convexity"] == weak_convexity
    traits = regularizer.traits()
    assert traits.modulus is not None
    assert traits.modulus.value == pytest.approx(-weak_convexity, rel=1e-4)


def test_arguments_reach_the_inner_regulariser() -> None:
    regularizer = build("scaled", inner={"name": "contractive", "width": 3}, scale=4.0)
    assert isinstance(regularizer, Scaled)
    assert regularizer.config["scale"] == 4.0
    assert regularizer.config["inner"]["width"] == 3


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tikhonov'") as caught:
        build("tichonov")
    assert caught.value.nearest == "tikhonov"
    with pytest.raises(UnknownNameError, match="Did you mean 'tv'"):
        build("scaled", inner={"name": "tv2"})


def test_unknown_arguments_are_answered_with_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'width'.*channels, width, depth"):
        build("contractive", widht=3)
    with pytest.raises(UsageError, match=r"takes no argument 'colour'.*inner, strength, scale"):
        build("scaled", colour=True)


def test_missing_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="image_shape"):
        build("tied-dense")
    with pytest.raises(UsageError, match="inner"):
        build("scaled")
    with pytest.raises(UsageError, match="inner="):
        build("scaled", inner={"strength": 1.0})


def test_values_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(UsageError, match="'contractive' cannot be built"):
        build("contractive", width="wide")
