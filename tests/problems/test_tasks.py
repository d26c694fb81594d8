"""The three tasks and any physics: operators against independent references, noise, starts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from deepinv.physics import MRI, Denoising, Downsampling, Inpainting, LinearPhysics, Tomography
from scipy.ndimage import convolve
from scipy.signal import convolve2d

from equipoise.errors import AdjointError, InputError, UsageError
from equipoise.problems import (
    Problem,
    RandomRows,
    deblur,
    denoise,
    from_physics,
    inpaint,
    motion_kernel,
)
from equipoise.testing import check_adjoint

SHAPE = (1, 24, 30)


def images(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.rand((2, *shape), generator=generator, dtype=torch.float64).to(dtype)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def every_task(dtype: torch.dtype) -> list[Problem]:
    kernel = torch.rand(3, 5, generator=seeded())
    return [
        denoise(SHAPE, dtype=dtype),
        inpaint(SHAPE, 0.4, dtype=dtype),
        inpaint(SHAPE, "rows:0.5", dtype=dtype),
        deblur(SHAPE, "motion:9:20", dtype=dtype),
        deblur(SHAPE, "gaussian:1.5", padding="valid", dtype=dtype),
        deblur(SHAPE, kernel, dtype=dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("index", range(6))
def test_every_task_is_linear_adjoint_and_consistent(index, dtype):
    problem = every_task(dtype)[index]
    check_adjoint(problem.physics, SHAPE, dtype)
    y = problem.measure(images(dtype=dtype), seeded())
    assert y.dtype == dtype
    start = problem.start(y)
    assert start.shape == (2, *SHAPE)
    assert start.dtype == dtype
    assert bool(torch.isfinite(start).all())
    assert problem.description.endswith(".")


@pytest.mark.parametrize("index", range(6))
def test_noise_agrees_over_precisions(index):
    single, double = every_task(torch.float32)[index], every_task(torch.float64)[index]
    y = single.measure(images(dtype=torch.float32), seeded())
    z = double.measure(images(dtype=torch.float32).double(), seeded())
    assert torch.allclose(y.double(), z, atol=2e-6)


def test_denoising_adds_noise_of_its_deviation():
    problem = denoise((1, 200, 200), sigma=0.2, dtype=torch.float64)
    assert isinstance(problem.physics, Denoising)
    x = images((1, 200, 200))
    n = problem.measure(x, seeded()) - x
    assert float(n.std()) == pytest.approx(0.2, rel=0.02)
    assert float(n.mean()) == pytest.approx(0.0, abs=0.003)
    expected = torch.randn(n.shape, generator=seeded(), dtype=torch.float64)
    assert torch.allclose(n, 0.2 * expected, atol=1e-14)


def test_without_noise_the_measurement_is_exact():
    x = images()
    assert torch.equal(denoise(SHAPE, sigma=0, dtype=torch.float64).measure(x, seeded()), x)


@pytest.mark.parametrize("shape", [SHAPE, (3, 24, 30), (1, 8, 7, 6)])
def test_inpainting_measures_known_pixels_only_and_keeps_them_in_the_start(shape):
    problem = inpaint(shape, 0.4, sigma=0.1, dtype=torch.float64)
    x = images(shape)
    y = problem.measure(x, seeded())
    mask = problem.physics.mask
    assert float(mask.mean()) == pytest.approx(0.4, abs=0.01)
    assert bool((y[(mask == 0).expand_as(y)] == 0).all())
    assert not torch.allclose(mask * y, mask * x, atol=0.01)
    start = problem.start(y)
    assert torch.equal(mask * start, y)
    assert float(start.min()) >= float(y.min())


def test_deepinvs_own_forward_has_the_same_noise_level():
    problem = denoise((1, 200, 200), sigma=0.3, dtype=torch.float64)
    x = images((1, 200, 200))
    torch.manual_seed(0)
    assert float((problem.physics(x) - x).std()) == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("channels", [1, 3])
def test_circular_blur_is_scipys(channels):
    kernel = torch.rand(3, 5, dtype=torch.float64, generator=seeded())
    problem = deblur((channels, 24, 30), kernel, sigma=0, dtype=torch.float64)
    x = images((channels, 24, 30))
    y = problem.measure(x, seeded())
    weights = (kernel / kernel.sum()).numpy()
    for sample, channel in np.ndindex(2, channels):
        expected = convolve(x[sample, channel].numpy(), weights, mode="wrap")
        np.testing.assert_allclose(y[sample, channel].numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("size", [(3, 5), (4, 6)])
def test_valid_blur_is_scipys_and_starts_with_its_edge(size):
    kernel = torch.rand(*size, dtype=torch.float64, generator=seeded())
    problem = deblur(SHAPE, kernel, sigma=0, padding="valid", dtype=torch.float64)
    x = images()
    y = problem.measure(x, seeded())
    padded = np.zeros([n + (n + 1) % 2 for n in size])
    padded[: size[0], : size[1]] = kernel / kernel.sum()
    expected = convolve2d(x[0, 0].numpy(), padded, mode="valid")
    np.testing.assert_allclose(y[0, 0].numpy(), expected, atol=1e-13)
    start = problem.start(y)[0, 0]
    rows, columns = (n // 2 for n in padded.shape)
    assert torch.equal(start[rows:-rows, columns:-columns], y[0, 0])
    assert torch.equal(start[0, columns:-columns], y[0, 0, 0])


def test_an_even_kernel_is_padded_and_said_so():
    problem = deblur(SHAPE, torch.ones(2, 2))
    assert any("even size 2 x 2" in note for note in problem.notes)


@pytest.mark.parametrize("index", range(6))
def test_other_shapes_precisions_and_back(index):
    problem = every_task(torch.float32)[index]
    assert problem.for_shape(SHAPE) is problem
    small = problem.for_shape((3, 20, 22))
    assert (small.image_shape, small.dtype, small.sigma) == (
        (3, 20, 22),
        torch.float32,
        problem.sigma,
    )
    y = small.measure(images((3, 20, 22), torch.float32), seeded())
    assert small.start(y).shape == (2, 3, 20, 22)
    assert small.description == problem.description
    exact = problem.with_dtype(torch.float64)
    assert exact.dtype == torch.float64
    check_adjoint(exact.physics, SHAPE, torch.float64)
    x = images(dtype=torch.float32)
    difference = exact.physics.A(x.double()) - problem.physics.A(x)
    assert float(difference.abs().max()) < 1e-6
    assert problem.with_dtype(torch.float32) is problem
    assert problem.with_device("cpu") is problem


def test_rows_stay_rows_in_patches():
    problem = inpaint(SHAPE, RandomRows(0.5, seed=4)).for_shape((1, 12, 12))
    mask = problem.physics.mask[0, 0]
    assert torch.equal(mask, mask[:, :1].expand(12, 12))
    assert int(mask[:, 0].sum()) == 6


def test_the_users_mask_is_cut_for_patches_but_must_fit_images():
    mask = (torch.rand(24, 30, generator=seeded()) > 0.3).float()
    problem = inpaint(SHAPE, mask)
    assert torch.equal(problem.physics.mask[0, 0], mask)
    part = problem.for_shape((1, 12, 12)).physics.mask
    assert abs(float(part.mean()) - float(mask.mean())) < 0.02
    with pytest.raises(InputError, match="The mask has size 24 x 30"):
        inpaint((1, 12, 12), mask)
    with pytest.raises(InputError, match="The mask has size 24 x 30"):
        problem.for_shape((1, 48, 48))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: denoise(SHAPE, sigma=-0.1), "noise level"),
        (lambda: denoise(SHAPE, sigma=float("nan")), "noise level"),
        (lambda: denoise((24,)), "image shape"),
        (lambda: denoise((1, 0, 3)), "image shape"),
        (lambda: inpaint(SHAPE, 0.0), "share of known pixels"),
        (lambda: deblur((1, 8, 8), "motion:9"), "larger than the image"),
        (lambda: deblur((1, 8, 8, 8), "motion:3"), r"takes images \(C, H, W\)"),
        (lambda: deblur(SHAPE, torch.tensor([[1.0, -1.0, 0.0]])), "sums to zero"),
    ],
)
def test_impossible_problems_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: denoise(SHAPE, dtype=torch.float16), "float32 or torch.float64"),
        (lambda: deblur(SHAPE, padding="reflect"), "'circular' or 'valid'"),
        (lambda: from_physics(lambda shape: torch.nn.Identity(), SHAPE), "LinearPhysics"),
    ],
)
def test_impossible_choices_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(2, 1, 24, 31), "use problem.for_shape"),
        (torch.zeros(1, 24, 30), "use problem.for_shape"),
        (torch.tensor(0.0), "use problem.for_shape"),
        (torch.zeros(2, 1, 24, 30, dtype=torch.float64), "use problem.with_dtype"),
        (torch.zeros(2, 1, 24, 30, device="meta"), "use problem.with_device"),
    ],
)
def test_images_that_do_not_fit_are_refused(x, words):
    with pytest.raises(InputError, match=words):
        denoise(SHAPE).measure(x, seeded())


def sampled_rows(width: int) -> torch.Tensor:
    mask = torch.zeros(1, 2, width, width)
    mask[:, :, ::3] = 1
    return mask


def test_sparse_view_tomography_through_the_same_door():
    physics = Tomography(angles=8, img_width=16, normalize=False, adjoint_via_backprop=True)
    problem = from_physics(physics, (1, 16, 16), sigma=0.1)
    y = problem.measure(images((1, 16, 16), torch.float32), seeded())
    assert y.shape[-1] == 8
    start = problem.start(y)
    for scale in (0.99, 1.01):  # the starting point's scale fits the data best
        assert (physics.A(start) - y).norm() <= (physics.A(scale * start) - y).norm()
    inexact = Tomography(angles=8, img_width=16, normalize=False, adjoint_via_backprop=False)
    with pytest.raises(AdjointError):
        from_physics(inexact, (1, 16, 16))


def test_accelerated_mri_through_the_same_door():
    problem = from_physics(MRI(mask=sampled_rows(16), img_size=(2, 16, 16)), (2, 16, 16), sigma=0.1)
    x = images((2, 16, 16), torch.float32)
    y = problem.measure(x, seeded())
    observed = sampled_rows(16).expand_as(y) == 1
    assert bool((y[~observed] == 0).all())  # no noise where nothing was measured
    assert float((y - problem.physics.A(x))[observed].std()) == pytest.approx(0.1, rel=0.2)


def test_super_resolution_for_any_shape_by_a_function():
    def physics(shape: tuple[int, ...]) -> LinearPhysics:
        return Downsampling(img_size=shape, filter="bicubic", factor=2)

    problem = from_physics(physics, (1, 16, 16), sigma=0.01, name="super-resolution")
    assert problem.name == "super-resolution"
    assert problem.for_shape((3, 12, 20)).measure(
        images((3, 12, 20), torch.float32), seeded()
    ).shape == (2, 3, 6, 10)


def coarse(shape: tuple[int, ...]) -> LinearPhysics:
    """Means of 3 x 3 pixels."""
    return LinearPhysics(
        A=lambda x, **_: torch.nn.functional.avg_pool2d(x, 3),
        A_adjoint=lambda y, **_: y.repeat_interleave(3, 2).repeat_interleave(3, 3) / 9,
    )


@pytest.mark.parametrize(
    ("problem", "image"),
    [
        (denoise((3, 9, 12)), (3, 9, 12)),
        (inpaint((1, 9, 12), 0.5), (1, 9, 12)),
        (deblur((1, 9, 12), "motion:5", padding="valid"), (1, 9, 16)),
        (deblur((1, 20, 30), torch.ones(3, 5), padding="valid"), (1, 11, 16)),
        (from_physics(coarse, (1, 9, 12)), (1, 27, 36)),
        (from_physics(coarse, (1, 30, 30)), (1, 27, 36)),
    ],
    ids=lambda value: str(getattr(value, "image_shape", value)),
)
def test_images_are_found_by_the_shape_of_their_measurements(
    problem: Problem, image: tuple[int, ...]
) -> None:
    measured = (image[0], 9, 12)
    found = problem.for_measured(measured)
    assert found is not None
    assert found.image_shape == image
    assert found.measured_shape == measured
    assert (found.name, found.sigma, found.description) == (
        problem.name, problem.sigma, problem.description
    )  # fmt: skip


def cropped(shape: tuple[int, ...]) -> LinearPhysics:
    """Keeps the upper left corner of 4 x 4 pixels, whatever the image."""
    return LinearPhysics(
        A=lambda x, **_: x[..., :4, :4],
        A_adjoint=lambda y, **_: torch.nn.functional.pad(y, (0, shape[2] - 4, 0, shape[1] - 4)),
    )


def test_no_image_is_found_where_none_has_such_measurements() -> None:
    problem = from_physics(cropped, (1, 8, 8))
    assert problem.for_measured((1, 4, 4)) is problem
    assert problem.for_measured((1, 5, 4)) is None
    assert deblur((1, 8, 8), "motion:5", padding="valid").for_measured((1, 8)) is None


def test_a_fixed_physics_has_one_shape_in_every_precision():
    problem = from_physics(Inpainting(img_size=SHAPE, mask=torch.ones(1, *SHAPE)), SHAPE)
    assert problem.for_shape(SHAPE) is problem
    with pytest.raises(UsageError, match="function of the image shape"):
        problem.for_shape((1, 8, 8))
    double = problem.with_dtype(torch.float64)
    assert double.physics.mask.dtype == torch.float64
    assert problem.physics.mask.dtype == torch.float32


def test_complex_measurements_get_noise_of_sigma_in_both_parts():
    class Fourier(LinearPhysics):
        def A(self, x: torch.Tensor, **kwargs: object) -> torch.Tensor:
            return torch.fft.fft2(x, norm="ortho")

        def A_adjoint(self, y: torch.Tensor, **kwargs: object) -> torch.Tensor:
            return torch.fft.ifft2(y, norm="ortho").real

    problem = from_physics(Fourier(), (1, 128, 128), sigma=0.5, dtype=torch.float64)
    x = images((1, 128, 128))
    n = problem.measure(x, seeded()) - problem.physics.A(x)
    assert float(n.real.std()) == pytest.approx(0.5, rel=0.03)
    assert float(n.imag.std()) == pytest.approx(0.5, rel=0.03)
    assert problem.start(problem.physics.A(x)).dtype == torch.float64


def test_building_problems_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for problem in every_task(torch.float32):
            problem.measure(images(dtype=torch.float32), seeded())


def test_the_default_kernel_is_the_one_that_is_named():
    blurred = deblur((1, 1, 21), sigma=0, dtype=torch.float64).physics.A(
        torch.eye(21, dtype=torch.float64)[10].reshape(1, 1, 1, 21)
    )
    assert torch.allclose(blurred[0, 0, :, 6:15], motion_kernel(9).values, atol=1e-14)
