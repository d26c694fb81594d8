"""Frozen fields on fast kernels against the fields themselves, whole and in tiles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.convolutions import tiles
from equipoise.errors import InputError, NoPotentialError
from equipoise.fields import Field, Fold
from equipoise.regularizers import NAMES, Regularizer, Tikhonov, build
from equipoise.testing import check_frozen
from field_cases import BUDGETS, CASES, distance, regularizer


@pytest.fixture(params=list(BUDGETS))
def budget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tiles, "CACHE", BUDGETS[request.param])
    return str(request.param)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("budget")
def test_double_precision_agrees_to_1e_12(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    frozen, v = r.frozen(), torch.randn_like(x)
    assert distance(frozen.value(x), r.field(x)) < 1e-12
    near, plain = frozen.linearize(x), r.linearize(x)
    assert distance(near.jvp(v), plain.jvp(v)) < 1e-12
    assert distance(near.vjp(v), plain.vjp(v)) < 1e-12
    if r.gradient_field:
        value, field = frozen.potential_and_value(x)
        assert distance(field, r.field(x)) < 1e-12
        torch.testing.assert_close(value, r.potential(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("budget")
def test_single_precision_agrees_to_1e_5_with_double(case: str) -> None:
    r, x = regularizer(case, torch.float32)
    frozen = r.frozen()
    exact, wide = build_double(r), x.double()
    assert distance(frozen.value(x), exact.field(wide)) < 1e-5
    if r.gradient_field:
        value, field = frozen.potential_and_value(x)
        assert distance(field, exact.field(wide)) < 1e-5
        assert distance(value[:, None], exact.potential(wide)[:, None]) < 1e-5
    # Curvatures jump at kinks, where rounding decides; a few pixels of thousands may differ.
    v = torch.randn_like(x)
    wrong = (frozen.linearize(x).jvp(v) - exact.linearize(wide).jvp(v.double())).abs()
    size = exact.linearize(wide).jvp(v.double()).abs().mean()
    assert float((wrong > 1e-5 * size).double().mean()) < 0.05


def build_double(r: Regularizer) -> Regularizer:
    twin = build(**r.config).double()
    twin.load_state_dict(r.state_dict())
    return twin


def test_every_name_of_the_catalogue_has_a_case() -> None:
    assert {name for name, _, _ in CASES.values()} | {"ridge"} == set(NAMES)


@pytest.mark.parametrize("case", ["chain", "periodic chain", "untied pair", "contractive"])
def test_tiles_change_nothing_for_the_preconditioner(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    r, x = regularizer(case, torch.float64)
    whole = r.frozen().local_kernels(x)
    monkeypatch.setattr(tiles, "CACHE", BUDGETS["tiles"])
    tiled = r.frozen().local_kernels(x)
    if case == "contractive":
        assert whole is None
        assert tiled is None
        return
    assert whole is not None
    assert tiled is not None
    torch.testing.assert_close(tiled.windows, whole.windows)
    torch.testing.assert_close(tiled.kernels, whole.kernels)


@pytest.mark.parametrize("case", ["chain", "student-t", "contractive"])
@pytest.mark.usefixtures("budget")
def test_views_of_other_tensors_are_taken(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    frozen = r.frozen()
    wide = torch.stack([x, -x], dim=-1)
    assert not wide[..., 0].is_contiguous()
    torch.testing.assert_close(frozen.value(wide[..., 0]), frozen.value(x))
    turned = x.transpose(2, 3)
    torch.testing.assert_close(frozen.value(turned), frozen.value(turned.contiguous()))
    if r.gradient_field:
        torch.testing.assert_close(frozen.potential_and_value(turned)[1], r.field(turned))


@pytest.mark.parametrize("case", ["chain", "weakly convex chain", "tied pair", "contractive"])
@pytest.mark.usefixtures("budget")
def test_a_sample_does_not_depend_on_its_batch(case: str) -> None:
    r, x = regularizer(case, torch.float64)
    mixed = torch.cat([1e-3 * x, x, 50.0 * x, torch.zeros_like(x)])
    frozen = r.frozen()
    each = torch.cat([frozen.value(one) for one in mixed.split(len(x))])
    torch.testing.assert_close(frozen.value(mixed), each, rtol=1e-12, atol=1e-12)


def test_the_argument_is_not_written_on() -> None:
    r, x = regularizer("weakly convex chain", torch.float64)
    kept = x.clone()
    frozen = r.frozen()
    frozen.potential_and_value(x)
    frozen.linearize(x).jvp(x)
    frozen.local_kernels(x)
    assert torch.equal(x, kept)


def test_later_parameters_need_another_freezing() -> None:
    r, x = regularizer("chain", torch.float64)
    before, frozen = r.field(x).detach(), r.frozen()
    with torch.no_grad():
        for parameter in r.parameters():
            parameter.mul_(1.3)
    torch.testing.assert_close(frozen.value(x), before)
    assert distance(r.frozen().value(x), before) > 1e-3


def test_frozen_fields_build_no_graph_and_refuse_like_the_field() -> None:
    r, x = regularizer("chain", torch.float64)
    frozen = r.frozen()
    assert not frozen.value(x.requires_grad_()).requires_grad
    with pytest.raises(InputError, match="float32"):
        frozen.value(x.detach().float())
    untied, image = regularizer("untied pair", torch.float64)
    with pytest.raises(NoPotentialError):
        untied.frozen().potential_and_value(image)
    dense, _ = regularizer("dense", torch.float64)
    with pytest.raises(InputError, match="one shape"):
        dense.frozen().value(torch.rand(1, 1, 5, 5, dtype=torch.float64))


class HastilyFrozen(Tikhonov):
    """Freezes to twice itself."""

    def _frozen(self, fold: Fold, constants: tuple[Tensor, ...]) -> Field:
        made = super()._frozen(fold, constants)
        made._value = lambda x: 2.0 * self._field(x, constants)
        return made


def test_the_contract_finds_wrongly_frozen_fields() -> None:
    with pytest.raises(AssertionError, match="freezing changes the field"):
        check_frozen(HastilyFrozen(), (2, 1, 5, 6))
