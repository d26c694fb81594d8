"""deepinv's priors inside the equation."""

from __future__ import annotations

from collections.abc import Callable

import deepinv
import pytest
import torch
from deepinv.models import DnCNN
from deepinv.optim import prior as priors
from torch import Tensor

from equipoise.equation import Equation
from equipoise.errors import InputError, UsageError
from equipoise.regularizers import ExplicitPrior, ResidualDenoiser, Tikhonov, from_deepinv
from equipoise.testing import check_regularizer


def image(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def denoiser() -> DnCNN:
    torch.manual_seed(0)
    return DnCNN(1, 1, depth=3, nf=4, pretrained=None).double()


def test_red_keeps_its_own_gradient(denoiser: DnCNN) -> None:
    prior, x = priors.RED(denoiser), image(2, 1, 6, 5)
    regularizer = from_deepinv(prior, sigma=0.1)
    assert isinstance(regularizer, ResidualDenoiser)
    torch.testing.assert_close(regularizer.field(x), prior.grad(x, 0.1))


def test_pnp_becomes_the_residual_of_its_denoiser(denoiser: DnCNN) -> None:
    prior, x = priors.PnP(denoiser), image(2, 1, 6, 5)
    regularizer = from_deepinv(prior, sigma=0.1)
    torch.testing.assert_close(regularizer.field(x), x - prior.prox(x, 0.1))
    assert not regularizer.traits().gradient_field


@pytest.mark.parametrize("wrap", [priors.RED, priors.PnP])
def test_denoisers_inside_the_equation(
    wrap: Callable[[DnCNN], priors.Prior], denoiser: DnCNN
) -> None:
    mask = (torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.4).double()
    physics = deepinv.physics.Inpainting(img_size=(1, 6, 6), mask=mask[0])
    y, x = mask * image(2, 1, 6, 6), image(2, 1, 6, 6, seed=1)
    equation = Equation(physics, y, from_deepinv(wrap(denoiser), sigma=0.1), alpha=0.3)
    expected = mask * x - y + 0.3 * (x - denoiser(x, 0.1))
    torch.testing.assert_close(equation.residual(x), expected.detach())
    v, w = image(2, 1, 6, 6, seed=2), image(2, 1, 6, 6, seed=3)
    near = equation.linearize(x)
    torch.testing.assert_close((near.jvp(v) * w).sum(), (v * near.vjp(w)).sum())


@pytest.mark.parametrize("prior", [priors.Tikhonov(), priors.SmoothedTVPrior(eps=0.3)])
def test_explicit_priors_have_their_closed_form_gradient(prior: priors.Prior) -> None:
    regularizer, x = from_deepinv(prior), image(2, 1, 6, 5)
    assert isinstance(regularizer, ExplicitPrior)
    assert regularizer.explicit_prior
    torch.testing.assert_close(regularizer.field(x), prior.grad(x))
    torch.testing.assert_close(regularizer.potential(x), prior.fn(x))
    check_regularizer(regularizer, (2, 1, 6, 5))


def test_evaluation_without_gradients_builds_no_graph() -> None:
    regularizer, x = from_deepinv(priors.SmoothedTVPrior(eps=0.3)), image(1, 1, 5, 5)
    with torch.no_grad():
        value, field = regularizer.frozen().potential_and_value(x)
    assert not value.requires_grad
    assert not field.requires_grad
    assert not x.requires_grad


def test_equipoise_regularisers_pass_unchanged() -> None:
    regularizer = Tikhonov()
    assert from_deepinv(regularizer) is regularizer


def test_potential_that_mixes_samples_is_refused() -> None:
    class Mixed(priors.Prior):
        def __init__(self) -> None:
            super().__init__()
            self.explicit_prior = True

        def fn(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
            return x.square().sum()

    with pytest.raises(InputError, match="one number per sample"):
        from_deepinv(Mixed()).field(image(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("prior", "sigma", "word"),
    [
        (priors.RED(torch.nn.Identity()), None, "sigma=0.05"),
        (priors.PnP(torch.nn.Identity()), None, "sigma=0.05"),
        (priors.Tikhonov(), 0.1, "no denoiser"),
        (priors.L1Prior(), None, "not differentiable"),
        (priors.TVPrior(), None, "SmoothedTVPrior"),
        (priors.ScorePrior(torch.nn.Identity()), None, "RED and PnP"),
        (torch.nn.Identity(), None, "takes a deepinv prior, got Identity"),
    ],
)
def test_what_cannot_work_is_refused(prior: object, sigma: float | None, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        from_deepinv(prior, sigma=sigma)  # type: ignore[arg-type]
