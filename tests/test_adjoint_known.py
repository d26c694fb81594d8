"""The adjoint is tried where an equation is built: once per physics, state and kind of image."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    CompressedSensing,
    Decolorize,
    Demosaicing,
    Denoising,
    Downsampling,
    Inpainting,
    LinearPhysics,
    MultiCoilMRI,
    SinglePixelCamera,
    Tomography,
    Upsampling,
)
from torch import Tensor

from equipoise import adjointness
from equipoise.adjointness import QUICK, SAMPLES, Pairings, checked
from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.errors import AdjointError, InputError
from equipoise.physics_state import State
from equipoise.problems import from_physics
from equipoise.reconstructor import EquilibriumReconstructor
from equipoise.regularizers import Tikhonov
from equipoise.solve import solve

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def build(physics: LinearPhysics, y: Tensor) -> Equation:
    return Equation(physics, y, Tikhonov("gradient"), 0.1)


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# ---- false adjoints ------------------------------------------------------------------------------


@PRECISIONS
def test_a_tomograph_without_its_exact_adjoint_is_refused(dtype: torch.dtype) -> None:
    tomograph = Tomography(
        img_width=12, angles=8, adjoint_via_backprop=False, normalize=False, dtype=dtype
    )
    y = tomograph.A(random(1, 1, 12, 12, dtype=dtype))
    with pytest.raises(AdjointError, match=r"relative defect 0\.\d+.*adjoint_via_backprop=True"):
        build(tomograph, y)
    model = EquilibriumReconstructor(Tikhonov("gradient"), 0.1)
    for call in (model, model.solve):
        with pytest.raises(AdjointError, match="not the adjoint"):
            call(y, tomograph)


class Convolution(LinearPhysics):
    """A 3 x 3 convolution whose adjoint is off in six entries of the kernel."""

    def __init__(self, dtype: torch.dtype, off: float) -> None:
        super().__init__()
        self.kernel = random(1, 1, 3, 3, dtype=dtype) / 4.5
        self.other = self.kernel.clone()
        self.other[..., :2, :] += off

    def A(self, x: Tensor, **_: object) -> Tensor:
        return F.conv2d(x, self.kernel, padding=1)

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        return F.conv_transpose2d(y, self.other, padding=1)


@PRECISIONS
def test_a_convolution_with_a_slightly_wrong_adjoint_is_refused(dtype: torch.dtype) -> None:
    for off in (0.1, 0.01):
        with pytest.raises(AdjointError, match=f"accepted .* in {dtype}"):
            build(Convolution(dtype, off), random(2, 1, 20, 20, dtype=dtype))
    exact = build(Convolution(dtype, 0.0), random(2, 1, 20, 20, dtype=dtype))
    assert solve(exact, exact.adjoint_data).all_converged


def test_one_sample_with_a_false_adjoint_is_seen_among_many() -> None:
    factors = torch.ones(64, 1, 1, 1)
    factors[17] = 1.002

    physics = LinearPhysics(A=lambda x, **_: x, A_adjoint=lambda y, **_: factors * y)
    with pytest.raises(AdjointError, match=r"defect 0\.0"):
        build(physics, torch.ones(64, 1, 5, 5))


def test_an_operator_with_an_offset_is_refused() -> None:
    physics = LinearPhysics(A=lambda x, **_: x + 0.1, A_adjoint=lambda y, **_: y)
    with pytest.raises(AdjointError):
        build(physics, torch.ones(1, 1, 8, 8))


# ---- true adjoints -------------------------------------------------------------------------------


def operators(dtype: torch.dtype) -> dict[str, tuple[LinearPhysics, tuple[int, ...]]]:
    gray, two = (1, 16, 16), (2, 16, 16)
    kernel = random(1, 1, 5, 5, dtype=dtype) / 12
    kernels = random(3, 1, 5, 5, dtype=dtype, seed=1)
    mask = (random(1, 16, 16, dtype=dtype) > 0.4).to(dtype)
    masks = (random(3, 1, 16, 16, dtype=dtype) > 0.5).to(dtype)
    both = (random(3, 2, 16, 16, dtype=dtype) > 0.5).to(dtype)
    maps = torch.complex(*(random(4, 16, 16, dtype=dtype, seed=k) for k in (2, 3)))

    def times(factor: float) -> LinearPhysics:
        return LinearPhysics(
            A=lambda x, **_: factor * (x * mask), A_adjoint=lambda y, **_: factor * (y * mask)
        )

    return {
        "denoising": (Denoising(), gray),
        "inpainting": (Inpainting(gray, mask=mask), gray),
        "a mask each": (Inpainting(gray, mask=masks), gray),
        "nothing": (Inpainting(gray, mask=torch.zeros_like(mask)), gray),
        **{
            f"blur {padding}": (Blur(filter=kernel, padding=padding), gray)
            for padding in ("valid", "circular", "replicate", "reflect", "constant")
        },
        "a blur each": (Blur(filter=kernels, padding="circular"), gray),
        "fft": (BlurFFT(gray, filter=kernel), gray),
        "an fft each": (BlurFFT(gray, filter=kernels), gray),
        "downsampling": (Downsampling(gray, filter="bicubic", factor=2), gray),
        "upsampling": (Upsampling(gray, filter=kernel, factor=2, padding="circular"), (1, 8, 8)),
        "mri": (MRI(mask=both[:1], img_size=two), two),
        "an mri each": (MRI(mask=both, img_size=two), two),
        "coils": (MultiCoilMRI(mask=mask[0], coil_maps=maps, img_size=two), two),
        "tomography": (Tomography(8, 16, normalize=False, dtype=dtype), gray),
        "fan": (Tomography(8, 16, normalize=False, fan_beam=True, dtype=dtype), gray),
        "sensing": (CompressedSensing(m=40, img_size=gray, dtype=dtype), gray),
        "single pixel": (SinglePixelCamera(m=40, img_size=gray), gray),
        "bayer": (Demosaicing((16, 16)), (3, 16, 16)),
        "gray": (Decolorize(channels=3), (3, 16, 16)),
        "composed": (Blur(filter=kernel, padding="valid") * Inpainting(gray, mask=mask), gray),
        "a millionth": (times(1e-6), gray),
        "a million": (times(1e6), gray),
    }


@pytest.mark.filterwarnings("ignore")
@PRECISIONS
@pytest.mark.parametrize("name", operators(torch.float32))
def test_true_adjoints_pass_and_are_asked_once(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def watch(physics: LinearPhysics, image: Tensor, pairs: int) -> tuple[Pairings, State]:
        if image.dtype is dtype:  # a solve may ask its copy in float64
            asked.append(pairs)
        return pairings(physics, image, pairs)

    pairings = adjointness.pairings
    monkeypatch.setattr(adjointness, "pairings", watch)
    physics, shape = operators(dtype)[name]
    physics = in_precision(physics, dtype)
    y = physics.A(random(3, *shape, dtype=dtype))
    defect = build(physics, y)._checked.pairs.defect
    assert defect < (3e-6 if dtype is torch.float32 else 3e-15)
    equation = build(physics, y)
    solve(equation, equation.adjoint_data, max_evaluations=20)
    equation.linearize(equation.adjoint_data)
    if equation.data.gram.alike:  # another number of samples is nothing new
        build(physics, y[:1])
    build(physics, y)
    assert asked == [QUICK]


def test_what_the_program_has_checked_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    pairings = adjointness.pairings

    def watch(physics: LinearPhysics, image: Tensor, pairs: int) -> tuple[Pairings, State]:
        asked.append(pairs)
        return pairings(physics, image, pairs)

    monkeypatch.setattr(adjointness, "pairings", watch)
    tomograph = Tomography(8, 12, normalize=False)
    problem = from_physics(tomograph, (1, 12, 12), sigma=0.1)
    y = problem.measure(torch.ones(2, 1, 12, 12), torch.Generator().manual_seed(0))
    build(problem.physics, y)
    assert asked == [SAMPLES]


# ---- what is remembered --------------------------------------------------------------------------


def test_another_state_or_kind_of_image_is_asked_again() -> None:
    physics = Convolution(torch.float32, 0.0)
    like = torch.zeros(1, 1, 8, 8)
    first = checked(physics, like).pairs
    assert checked(physics, like).pairs is first
    assert checked(physics, torch.zeros(4, 1, 8, 8)).pairs is first
    assert checked(physics, torch.zeros(1, 1, 9, 8)).pairs is not first
    assert checked(physics, like).pairs is first
    physics.other = physics.other.clone()
    assert checked(physics, like).pairs is not first
    physics.other.mul_(1.1)  # in place
    with pytest.raises(AdjointError):
        checked(physics, like)
    physics.other.div_(1.1)
    checked(physics, like)
    physics.other = 1.1 * physics.other
    with pytest.raises(AdjointError):
        build(physics, like)


def test_a_physics_goes_with_what_is_remembered() -> None:
    physics = Convolution(torch.float32, 0.0)
    physics.again = physics.A  # refers to itself
    build(physics, torch.zeros(1, 1, 8, 8))
    gone = weakref.ref(physics)
    del physics
    gc.collect()
    assert gone() is None


def test_threads_may_build_equations_with_one_physics() -> None:
    physics = Tomography(8, 12, normalize=False)
    y = physics.A(torch.ones(2, 1, 12, 12))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for batch in (1, 2) * 5:
                equation = build(physics, y[:batch])
                equation.check_unchanged()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_an_operator_that_fails_only_for_random_images_says_so() -> None:
    def fail(x: Tensor, **_: object) -> Tensor:
        raise RuntimeError("no such angle")

    physics = LinearPhysics(A=fail, A_adjoint=lambda y, **_: y)
    with pytest.raises(InputError, match="It says: no such angle"):
        build(physics, torch.ones(1, 1, 4, 4))
