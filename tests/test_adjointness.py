"""The adjoint check measures the defect itself, at any image size, and refuses what it should."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    Denoising,
    Downsampling,
    LinearPhysics,
    Tomography,
    stack,
)
from torch import Tensor

from equipoise import testing
from equipoise.errors import AdjointError, InputError
from equipoise.problems import adjoint_defect


def random_kernel(dtype: torch.dtype) -> Tensor:
    kernel = torch.rand(1, 1, 5, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return kernel / kernel.sum()


def blurs(dtype: torch.dtype) -> dict[str, LinearPhysics]:
    kernel = random_kernel(dtype)
    return {
        "fft": BlurFFT(img_size=(1, 33, 40), filter=kernel),
        **{
            f"{padding} {'fft' if fft else 'direct'}": Blur(
                filter=kernel, padding=padding, use_fft=fft
            )
            for padding in ("valid", "circular", "replicate", "reflect", "constant")
            for fft in (False, True)
        },
    }


@pytest.mark.parametrize(("dtype", "level"), [(torch.float32, 3e-6), (torch.float64, 3e-15)])
@pytest.mark.parametrize("name", list(blurs(torch.float32)))
def test_deepinvs_blurs_pass_at_rounding_level(name, dtype, level):
    assert adjoint_defect(blurs(dtype)[name], (1, 33, 40), dtype) < level


class Wrong(LinearPhysics):
    """A cyclic shift whose adjoint is off by a factor, or by a small random-like operator."""

    def __init__(self, factor: float = 1.0, other: float = 0.0) -> None:
        super().__init__()
        self.factor, self.other = factor, other

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x.roll(3, -1)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return self.factor * y.roll(-3, -1) + self.other * y.roll(5, -2)


@pytest.mark.parametrize("size", [16, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_defect_of_a_thousandth_is_seen_at_any_size(size, dtype):
    assert adjoint_defect(Wrong(), (1, size, size), dtype) < 3e-15
    for physics in (Wrong(factor=1.001), Wrong(other=1e-3)):
        with pytest.raises(AdjointError, match="not the adjoint"):
            adjoint_defect(physics, (1, size, size), dtype)
        defect = adjoint_defect(physics, (1, size, size), dtype, tolerance=1.0)
        assert 0.4e-3 < defect < 2e-3


def test_tomography_needs_its_exact_adjoint():
    exact = Tomography(angles=12, img_width=32, normalize=False, adjoint_via_backprop=True)
    assert adjoint_defect(exact, (1, 32, 32)) < 3e-6
    inexact = Tomography(angles=12, img_width=32, normalize=False, adjoint_via_backprop=False)
    with pytest.raises(AdjointError, match="adjoint_via_backprop=True"):
        adjoint_defect(inexact, (1, 32, 32))
    assert adjoint_defect(inexact, (1, 32, 32), tolerance=1.0) > 0.03


def test_mri_and_downsampling_pass():
    mask = torch.zeros(1, 2, 16, 16)
    mask[..., ::3] = 1
    assert adjoint_defect(MRI(mask=mask, img_size=(2, 16, 16)), (2, 16, 16)) < 3e-6
    down = Downsampling(img_size=(1, 16, 16), filter="bicubic", factor=2)
    assert adjoint_defect(down, (1, 16, 16)) < 3e-6


def test_complex_measurements_use_the_real_inner_product():
    class Fourier(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.fft2(x, norm="ortho")

        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.ifft2(y, norm="ortho").real

    assert adjoint_defect(Fourier(), (1, 16, 16), torch.float64) < 3e-15

    class Complex(Fourier):
        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.ifft2(y, norm="ortho")

    with pytest.raises(InputError, match="return real images"):
        adjoint_defect(Complex(), (1, 16, 16), torch.float64)


class Square(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x**2


class Offset(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x + 0.01


class Fails(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        raise KeyError("filter")


class Shorter(Wrong):
    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return y[..., 1:]


class NotFinite(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x / 0.0


class Narrow(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x.float()


class Zero(Wrong):
    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return 0 * x

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return 0 * y


@pytest.mark.parametrize(
    ("physics", "words"),
    [
        (Square(), "not linear"),
        (Offset(), "not linear"),
        (Fails(), "does not take images"),
        (Shorter(), "returns shape"),
        (NotFinite(), "NaN or infinite"),
        (Narrow(), "torch.float64 images into torch.float32"),
    ],
)
def test_what_does_not_fit_the_equation_is_refused(physics, words):
    with pytest.raises(InputError, match=words):
        adjoint_defect(physics, (1, 8, 8), torch.float64)


class Saturating(Wrong):
    """An adjoint that is right for measurements of the usual size."""

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return super().A_adjoint(y.clamp(-5.5, 5.5))


class Exchanging(Wrong):
    """Right for one image; of several, A or A' exchanges first and last."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.operator = operator

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return super().A(x.flip(0) if self.operator == "A" else x)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return super().A_adjoint(y.flip(0) if self.operator == "A_adjoint" else y)


@pytest.mark.parametrize(
    ("physics", "words"),
    [
        (Wrong(factor=1.001), "not the adjoint of A: relative defect .*, accepted 1e-10"),
        (Wrong(other=1e-3), "not the adjoint of A"),
        (Square(), "not linear: .* relative"),
        (Shorter(), "returns shape"),
        (Saturating(), "A_adjoint is not linear"),
        (Exchanging("A"), "A of a batch"),
        (Exchanging("A_adjoint"), "A_adjoint of a batch"),
    ],
)
def test_the_public_check_names_the_broken_clause(physics, words):
    with pytest.raises(AssertionError, match=f"Physics contract: .*{words}"):
        testing.check_adjoint(physics, (1, 8, 8), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", list(blurs(torch.float32)))
def test_deepinvs_blurs_keep_the_public_contract(name, dtype):
    testing.check_adjoint(blurs(dtype)[name], (1, 33, 40), dtype)
    testing.check_adjoint(Zero(), (1, 8, 8), dtype)


def test_the_zero_operator_has_an_adjoint():
    assert adjoint_defect(Zero(), (1, 8, 8)) == 0.0


def test_converting_deepinvs_fft_blur_changes_the_operator():
    """Why problems are built anew for another dtype: the transfer function's phase is lost."""
    physics = BlurFFT(img_size=(1, 33, 40), filter=random_kernel(torch.float64))
    x = torch.randn(1, 1, 33, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = physics.A(x)
    after = physics.to(torch.float64).A(x)
    assert float((after - before).norm() / before.norm()) > 0.05


def test_physics_that_measure_several_tensors_are_checked_too() -> None:
    testing.check_adjoint(stack(Denoising(), Blur(filter=torch.ones(1, 1, 3, 3) / 9)), (1, 8, 8))
