"""Input that cannot work is refused with a message that says what to do, or ends in a status."""

from __future__ import annotations

import math

import deepinv
import pytest
import torch
from deepinv.physics import Blur, BlurFFT, Denoising, Inpainting, LinearPhysics, Tomography
from torch import Tensor

from equipoise.equation import Equation
from equipoise.errors import AdjointError, ConvergenceError, EquipoiseError, InputError, UsageError
from equipoise.problems import from_physics
from equipoise.reconstructor import EquilibriumReconstructor, SolveOptions
from equipoise.regularizers import Residual, Tikhonov, build
from equipoise.solve import solve
from equipoise.solve.anderson import Anderson
from equipoise.solve.fixed_point import FixedPoint
from equipoise.status import Status
from small_problems import PHYSICS, field, image_shape, kernel, measure, normal, physics

SHAPE = (2, 1, 5, 6)


def refuse(words: str, operator: LinearPhysics, y: object, alpha: object = 0.5) -> None:
    with pytest.raises(InputError, match=words):
        Equation(operator, y, field("tied-conv"), alpha)  # type: ignore[arg-type]
    model = EquilibriumReconstructor(field("tied-conv"), alpha)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        model(y, operator)


# ---- shapes and channels -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inpaint", "circular", "tomography", "mri", "downsample"])
@pytest.mark.parametrize("change", [-1, 1])
def test_measurements_of_another_size(name: str, change: int) -> None:
    operator = physics(name)
    y = measure(operator, (2, *image_shape(name)))
    wrong = y[..., :-1] if change < 0 else torch.cat([y, y[..., :1]], -1)
    refuse("for this size", operator, wrong)


@pytest.mark.parametrize("name", sorted(set(PHYSICS) - {"denoise", "mixing"}))
def test_a_missing_batch_axis(name: str) -> None:
    operator = physics(name)
    refuse("shape|size", operator, measure(operator, (2, *image_shape(name)))[0])


def test_a_single_vector_and_an_empty_batch() -> None:
    refuse("batch axis of at least one sample", physics("mixing"), normal(12))
    refuse("at least one sample", physics("denoise"), normal(0, 1, 5, 6))


@pytest.mark.parametrize("name", ["mri", "downsample"])
def test_measurements_with_other_channels(name: str) -> None:
    operator = physics(name)
    y = measure(operator, (2, *image_shape(name)))
    refuse("does not accept measurements", operator, torch.cat([y, y], 1))


def test_a_kernel_for_colour_and_gray_measurements() -> None:
    operator = BlurFFT((3, 5, 6), filter=kernel().repeat(1, 3, 1, 1))
    refuse("produces|accept", operator, normal(*SHAPE))


def test_a_mask_of_the_wrong_size() -> None:
    mask = torch.ones(1, 5, 7, dtype=torch.float64)
    refuse("for this size", Inpainting((1, 5, 7), mask=mask), normal(*SHAPE))


def test_masks_for_another_number_of_samples() -> None:
    operator = Inpainting((1, 5, 6), mask=torch.ones(3, 1, 5, 6, dtype=torch.float64))
    refuse("each of 3 samples, but y has 2", operator, normal(*SHAPE))


def test_a_regulariser_for_other_channels() -> None:
    equation = Equation(
        physics("circular"), normal(*SHAPE), build("tied-conv", channels=3).double()
    )
    with pytest.raises(InputError, match="built for 3 channels, got 1"):
        solve(equation, equation.adjoint_data)


def test_a_regulariser_for_images_of_one_shape() -> None:
    pair = build("tied-dense", image_shape=(1, 4, 4), features=5).double()
    equation = Equation(physics("circular"), normal(*SHAPE), pair)
    with pytest.raises(InputError, match=r"\(1, 4, 4\)"):
        solve(equation, equation.adjoint_data)


# ---- dtypes and devices --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_measurements_that_are_no_floating_point_numbers(dtype: torch.dtype) -> None:
    refuse(r"y\.float\(\)", Denoising(), torch.ones(SHAPE, dtype=dtype))


def test_measurements_that_are_no_tensor() -> None:
    refuse("floating-point tensor", Denoising(), normal(*SHAPE).numpy())


@pytest.mark.parametrize("name", ["inpaint", "circular", "valid", "mixing", "mri", "tomography"])
def test_measurements_of_another_precision_than_the_physics(name: str) -> None:
    operator = physics(name)
    y = measure(operator, (2, *image_shape(name)))
    refuse("dtype|build it in torch.float32", operator, y.float())


def test_complex_images() -> None:
    y = torch.ones(SHAPE, dtype=torch.complex64)
    refuse("float32 or float64.*two channels", Denoising(), y)


def test_a_regulariser_of_another_precision() -> None:
    equation = Equation(Denoising(), normal(*SHAPE), field("tied-conv").float())
    with pytest.raises(InputError, match=r"regularizer\.to\(torch\.float64\)"):
        solve(equation, equation.adjoint_data)


def test_measurements_on_another_device_than_the_physics() -> None:
    refuse(
        r"physics is on cpu but y is on meta.*physics\.to",
        Denoising(),
        torch.ones(SHAPE).to("meta"),
    )
    refuse("physics is on meta but y is on cpu", Denoising().to("meta"), normal(*SHAPE))


def test_a_regulariser_on_another_device() -> None:
    regularizer = field("tied-conv").to("meta")
    equation = Equation(Denoising(), normal(*SHAPE), regularizer)
    with pytest.raises(InputError, match=r"is on meta but x is on cpu.*regularizer\.to\('cpu'\)"):
        regularizer.field(equation.adjoint_data)


# ---- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_measurements_that_are_not_finite(bad: float) -> None:
    y = normal(*SHAPE)
    y[0, 0, 1, 2] = y[1, 0, 0, 0] = bad
    refuse("y has 2 values that are NaN or infinite", physics("inpaint"), y)


def test_complex_measurements_that_are_not_finite() -> None:
    y = torch.ones(SHAPE, dtype=torch.complex128)
    y[0, 0, 0, 0] = complex(1.0, math.nan)
    refuse("y has 1 values", Denoising(), y)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_alpha_must_be_positive_and_finite(alpha: float) -> None:
    refuse("alpha must be positive and finite.*Scaled", physics("denoise"), normal(*SHAPE), alpha)
    per_sample = torch.tensor([1.0, alpha])
    refuse("alpha must be positive", physics("denoise"), normal(*SHAPE), per_sample)


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 1), (2, 1, 1, 1)])
def test_alpha_must_be_one_number_or_one_per_sample(shape: tuple[int, ...]) -> None:
    refuse("each of 2 samples, got shape", physics("denoise"), normal(*SHAPE), torch.ones(shape))


def test_alpha_must_be_a_real_number() -> None:
    with pytest.raises(InputError, match="positive number or a tensor, got str"):
        Equation(Denoising(), normal(*SHAPE), Tikhonov(), "0.1")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="alpha must be positive"):
        Equation(Denoising(), normal(*SHAPE), Tikhonov(), torch.tensor(1.0 + 1.0j))


# ---- operators and fields ------------------------------------------------------------------------


def test_a_physics_that_is_not_linear() -> None:
    class Squared(deepinv.physics.Physics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return x.square()

    with pytest.raises(UsageError, match=r"LinearPhysics, got Squared.*adjoint"):
        Equation(Squared(), normal(*SHAPE), Tikhonov())  # type: ignore[arg-type]

    class Pretended(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return x.square()

        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            return y

    with pytest.raises(InputError, match="not linear"):
        from_physics(Pretended(), SHAPE[1:])


def test_a_physics_without_exact_adjoint() -> None:
    inexact = Tomography(angles=5, img_width=8, normalize=False, adjoint_via_backprop=False)
    with pytest.raises(AdjointError, match="adjoint_via_backprop=True"):
        from_physics(inexact, (1, 8, 8))


def test_a_physics_that_raises_whatever_it_likes() -> None:
    class Angry(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return x

        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            raise KeyError("no such coil")

    refuse("no such coil", Angry(), normal(*SHAPE))
    refuse("It says", Blur(filter=kernel(), padding="valid"), normal(2, 5, 6))


@pytest.mark.parametrize("regularizer", [torch.nn.Identity(), deepinv.optim.Tikhonov(), None])
def test_something_else_than_a_regulariser(regularizer: object) -> None:
    with pytest.raises(UsageError, match=r"Residual\(N\).*from_deepinv\(prior\)"):
        Equation(Denoising(), normal(*SHAPE), regularizer)  # type: ignore[arg-type]


def test_messages_are_errors_of_values_as_well() -> None:
    for error in (InputError, UsageError):
        assert issubclass(error, ValueError)
        assert issubclass(error, EquipoiseError)


def test_an_expansive_field_under_the_fixed_point_solver_diverges_with_advice_that_helps() -> None:
    # R = Id - N with N x = -5 x + tanh(x): every step of size 1 multiplies by about -3.
    regularizer = Residual(lambda x: torch.tanh(x) - 5.0 * x)
    operator, y = physics("denoise"), normal(*SHAPE)
    equation = Equation(operator, y, regularizer, 0.6)
    expansive = solve(equation, equation.adjoint_data, FixedPoint(step_size=1.0))
    assert expansive.statuses == [Status.DIVERGED] * 2
    assert torch.isfinite(expansive.x).all()
    text = expansive.summary()
    for help_ in ("smaller step", "alpha", "searched step", "anderson", "contractive"):
        assert help_ in text
    model = EquilibriumReconstructor(
        regularizer,
        0.6,
        options=SolveOptions(solver=FixedPoint(step_size=1.0)),
        on_failure="error",
    )
    with pytest.raises(ConvergenceError, match="DIVERGED"):
        model(y, operator)
    remedies = [
        (equation, FixedPoint(step_size=0.3)),
        (equation, FixedPoint()),
        (equation, Anderson()),
        (Equation(operator, y, regularizer, 0.1), FixedPoint(step_size=1.0)),
    ]
    for remedy, solver in remedies:
        assert solve(remedy, remedy.adjoint_data, solver, tolerance=1e-8).all_converged


def test_a_field_without_equilibrium_near_by_is_never_called_converged() -> None:
    # R = Id - 5 Id: E = -1.4 x - y is repelled from its zero by every step.
    equation = Equation(physics("denoise"), normal(*SHAPE), Residual(lambda x: 5.0 * x), 0.6)
    solution = solve(equation, equation.adjoint_data, FixedPoint(step_size=0.5))
    assert solution.statuses == [Status.DIVERGED] * 2
    searched = solve(equation, equation.adjoint_data, FixedPoint())
    assert not searched.converged.any()
