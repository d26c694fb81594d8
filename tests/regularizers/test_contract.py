"""The contract: every catalogue name keeps it, users' own ones can, and wrong ones are refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from deepinv.physics import Denoising
from torch import Tensor, nn

from broken_regularizers import (
    Attached,
    AttainingWithoutPotential,
    BatchPotential,
    Careless,
    Cropping,
    CutOff,
    FalseAttaining,
    FalseBounded,
    FalseDisc,
    FalseGradient,
    FalseLinear,
    FalseOnce,
    FarTooHighModulus,
    ForgetfulConstants,
    ForgottenArgument,
    GrayByName,
    HiddenParameter,
    HighModulus,
    LateTraits,
    LogCosh,
    LooseConstants,
    LowLipschitz,
    LowLipschitzOfConvolution,
    MixedSamples,
    NotFinite,
    OfferedPotential,
    OtherFrozen,
    OtherPotential,
    OtherTogether,
    ProximalFailure,
    ProximalLie,
    SinglePrecision,
    SmallParameter,
    UnknownToCatalogue,
    WrongProducts,
)
from equipoise.bounds import estimated, proved
from equipoise.equation import Equation
from equipoise.errors import NoPotentialError, UsageError
from equipoise.regularizers import (
    NAMES,
    Regularizer,
    Residual,
    Traits,
    build,
)
from equipoise.regularizers.base import Constants
from equipoise.testing import (
    check_batch,
    check_channels,
    check_constants,
    check_far_away,
    check_frozen,
    check_inputs,
    check_jacobian,
    check_parameter_gradient,
    check_potential,
    check_prox,
    check_regularizer,
    check_saving,
    check_second_derivatives,
    check_shapes,
    check_traits,
)

SHAPE = (2, 1, 5, 6)

#: Small versions of all names, so that the whole contract is quick.
SMALL: dict[str, dict[str, Any]] = {
    "contractive": {"width": 4, "depth": 2, "kernel_size": 3},
    "crr": {"filters": (2, 4), "kernel_size": 3},
    "fields-of-experts": {"filters": 4, "kernel_size": 3},
    "ridge": {"filters": (3,), "kernel_size": 3, "weak_convexity": 0.5, "channels": 2},
    "scaled": {"inner": {"name": "wcrr", "filters": (2, 4), "kernel_size": 3}, "scale": 3.0},
    "spline-ridge": {"filters": (2, 4), "kernel_size": 3},
    "sum": {
        "parts": [
            {"name": "untied-conv", "filters": 3, "kernel_size": 3},
            {"name": "crr", "filters": (2, 4), "kernel_size": 3, "channels": 2},
            {"name": "tikhonov"},
        ],
        "weights": [1.0, 0.5, 0.25],
    },
    "tied-conv": {"filters": 4, "kernel_size": 3},
    "tied-dense": {"image_shape": [1, 4, 5], "features": 6},
    "tikhonov": {"operator": "gradient"},
    "tv": {"epsilon": 0.1},
    "untied-conv": {"filters": 4, "kernel_size": 3},
    "untied-dense": {"image_shape": [1, 4, 5], "features": 6},
    "wcrr": {"filters": (2, 4), "kernel_size": 3},
}


def perturbed(regularizer: Regularizer, size: float) -> Regularizer:
    """Move all parameters, so that nothing holds only at their initial values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in regularizer.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return regularizer


@pytest.mark.parametrize("name", NAMES)
def test_catalogue_keeps_the_contract(name: str) -> None:
    torch.manual_seed(0)
    check_regularizer(perturbed(build(name, **SMALL[name]), 0.2))


@pytest.mark.parametrize("name", ["contractive", "tied-conv", "untied-conv", "crr"])
def test_colour_versions_keep_the_contract(name: str) -> None:
    torch.manual_seed(0)
    check_regularizer(perturbed(build(name, **SMALL[name], channels=3), 0.2), (2, 3, 5, 6))


def test_networks_of_users_keep_the_contract() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))
    check_regularizer(Residual(network, channels=1))
    normalised = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    check_regularizer(Residual(normalised.eval()))


def test_classes_of_users_keep_the_contract() -> None:
    check_regularizer(LogCosh(), (2, 2, 4, 5))


# ---- one broken clause each ----------------------------------------------------------------------


Check = Callable[..., None]


@pytest.mark.parametrize(
    ("regularizer", "check", "word"),
    [
        (FarTooHighModulus(), check_traits, r"modulus 50 \(PROVED\) is declared, but"),
        (HighModulus(), check_traits, r"modulus 0.01 \(PROVED\) is declared, but"),
        (LowLipschitz(), check_traits, r"lipschitz 1.49 \(PROVED\) is declared, but"),
        (LowLipschitzOfConvolution(), check_traits, "shape .*declares the Lipschitz constant 7.8"),
        (LateTraits(), check_traits, "traits change with the parameters"),
        (FalseBounded(), check_far_away, "declared bounded, but"),
        (FalseAttaining(), check_far_away, "attaining is declared, but the potential falls"),
        (AttainingWithoutPotential(), check_far_away, "field that is no gradient"),
        (FalseDisc(), check_traits, "disc hypothesis"),
        (FalseGradient(), check_jacobian, "J is not symmetric"),
        (OtherPotential(), check_potential, "not the gradient"),
        (FalseLinear(), check_far_away, "declared linear, but"),
        (OtherTogether(), check_frozen, "freezing changes the field beside its potential"),
        (OtherFrozen(), check_frozen, "freezing changes the field"),
        (OfferedPotential(), check_potential, "offers a potential"),
        (BatchPotential(), check_shapes, "potential of 2 samples"),
        (SinglePrecision(), check_shapes, "float32"),
        (Cropping(), check_shapes, "field turned"),
        (NotFinite(), check_shapes, "not finite"),
        (MixedSamples(), check_batch, "batch differs"),
        (GrayByName(), check_channels, "colour image"),
        (WrongProducts(1.01, 1.01), check_jacobian, "jvp differs"),
        (WrongProducts(1.0, 1.01), check_jacobian, "not adjoint"),
        (HiddenParameter(), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("always"), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("moving"), check_parameter_gradient, "of an x that requires a gradient"),
        (Attached("fixed"), check_parameter_gradient, "of field by the parameter a differs"),
        (Attached("given"), check_parameter_gradient, "with constants that are given"),
        (SmallParameter(), check_parameter_gradient, "by the parameter small differs"),
        (Attached("graph"), check_second_derivatives, "second derivative of the field by x"),
        (CutOff(), check_second_derivatives, "second derivative of the field by x"),
        (ForgetfulConstants(), check_constants, "constants change the field"),
        (LooseConstants(), check_constants, "tuple of tensors"),
        (Careless(), check_inputs, "not refused"),
        (ProximalLie(), check_prox, "prox claims convergence"),
        (ProximalFailure(), check_prox, "did not converge.*allow more evaluations"),
        (ForgottenArgument("gradient"), check_saving, "field changed|loading gave"),
        (UnknownToCatalogue(), check_saving, "outside the catalogue was saved"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Regularizer) else "",
)
def test_broken_clauses_are_named(regularizer: Regularizer, check: Check, word: str) -> None:
    with pytest.raises(AssertionError, match=f"Regulariser contract: .*({word})"):
        check(regularizer, SHAPE if not isinstance(regularizer, FalseDisc) else (1, 1, 1, 2))


@pytest.mark.parametrize("broken", [HighModulus(), WrongProducts(1.0, 1.01), MixedSamples()])
def test_the_whole_contract_finds_them_too(broken: Regularizer) -> None:
    with pytest.raises(AssertionError, match="Regulariser contract"):
        check_regularizer(broken, SHAPE)


def test_batch_normalisation_in_training_mode_is_found() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1))
    with pytest.raises(AssertionError, match="batch differs"):
        check_batch(Residual(network.train()), SHAPE)


def test_a_field_that_says_it_is_differentiable_once_keeps_the_contract() -> None:
    class Once(FalseOnce):
        backward = torch.autograd.function.once_differentiable(FalseOnce.backward)

    class Honest(LogCosh):
        def _field(self, x: Tensor, constants: Constants) -> Tensor:
            return Once.apply(x, self.a)  # type: ignore[no-any-return]

    check_regularizer(Honest(), (2, 2, 4, 5))


@pytest.mark.parametrize("name", ["modulus", "lipschitz", "_linearize", "_potential_and_field"])
def test_methods_that_nothing_asks_for_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"Old defines {name}, which nothing asks for"):
        type("Old", (LogCosh,), {name: lambda self: None})


def test_traits_are_shown_compared_and_pickled() -> None:
    traits = build("wcrr", **SMALL["wcrr"]).traits()
    assert "lipschitz=" in repr(traits)
    assert "modulus=-1" in repr(traits)
    again = pickle.loads(pickle.dumps(traits))
    assert again == traits
    assert build("crr", **SMALL["crr"]).traits() != traits


def test_what_is_known_is_said_in_one_place() -> None:
    with pytest.raises(UsageError, match=r"Twofold defines traits, .*in _known\(\)"):

        class Twofold(LogCosh):
            def traits(self) -> Traits:  # type: ignore[misc]
                return Traits(modulus=proved(0.5), lipschitz=proved(1.5))


def test_solves_are_bounded_by_what_the_contract_checks() -> None:
    """No other modulus than the one that is held against dense Jacobians gives error bounds."""
    torch.manual_seed(0)
    y = torch.rand(1, 1, 5, 6)
    for wrong in (HighModulus(), FarTooHighModulus()):
        equation = Equation(Denoising(), y, wrong)
        declared = wrong.traits().modulus
        assert equation.modulus is not None
        assert equation.modulus.value == pytest.approx(1.0 + declared.value, rel=1e-6)
        with pytest.raises(AssertionError, match="modulus"):
            check_regularizer(wrong, SHAPE)


def test_estimated_traits_are_not_held_against_a_regulariser() -> None:
    class Estimated(LogCosh):
        def _known(self, constants: Constants) -> Traits:
            return Traits(modulus=estimated(0.01), lipschitz=estimated(1.49))

    check_traits(Estimated(), SHAPE)


def test_the_contract_leaves_the_regulariser_as_it_was() -> None:
    torch.manual_seed(0)
    regularizer = build("contractive", **SMALL["contractive"])
    before = {key: value.clone() for key, value in regularizer.state_dict().items()}
    check_regularizer(regularizer)
    for key, value in regularizer.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[key])
    with pytest.raises(NoPotentialError):
        regularizer.potential(torch.zeros(1, 1, 4, 4))
