"""Tomography against dense matrices, deepinv, scikit-image; its scale, start and refusals."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from deepinv.physics import Tomography
from skimage.transform import radon

from equipoise.errors import AdjointError, InputError, UsageError
from equipoise.problems import (
    Detector,
    ParallelBeam,
    Views,
    adjoint_defect,
    centre_crop,
    photographs,
    shepp_logan,
    tomography,
)
from equipoise.problems.problem import fitted_adjoint
from equipoise.problems.tomography import NORM_ACCURACY, ray_norm

SHAPES = [(1, 9, 9), (2, 8, 11), (1, 13, 6)]
ANGLES = ["7", "6:0-100", "1", "3:-20-20"]


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def matrix(physics: ParallelBeam, h: int, w: int) -> torch.Tensor:
    """A for one channel as a dense matrix."""
    basis = torch.eye(h * w, dtype=torch.float64).reshape(h * w, 1, h, w)
    return physics.A(basis).flatten(1).T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("angles", ANGLES)
def test_the_adjoint_is_the_transposed_matrix_and_the_norm_is_one(
    shape: tuple[int, ...], angles: str
) -> None:
    physics = tomography(shape, angles, dtype=torch.float64).physics
    assert isinstance(physics, ParallelBeam)
    assert adjoint_defect(physics, shape, torch.float64) < 1e-14
    dense = matrix(physics, *shape[1:])
    y = physics.A(normal(3, *shape))
    expected = (y.flatten(2) @ dense).reshape(3, *shape)
    assert torch.allclose(physics.A_adjoint(y), expected, atol=1e-13)
    norm = float(torch.linalg.matrix_norm(dense, 2))
    assert norm == pytest.approx(1.0, abs=1e-9)
    assert float(dense.min()) >= 0.0


@pytest.mark.parametrize("views", [Views(7), Views(3, 0, 20), Views(2, 40, 50), Views(1, 30, 50)])
def test_the_norm_lies_in_its_bracket(views: Views) -> None:
    low, high = ray_norm(views, (12, 12))
    dense = matrix(ParallelBeam((12, 12), views, dtype=torch.float64), 12, 12)
    norm = float(torch.linalg.matrix_norm(dense, 2))
    assert low * (1 - 1e-14) <= norm <= high * (1 + 1e-14)
    assert high <= low * (1 + NORM_ACCURACY)


@pytest.mark.parametrize("side", [*range(1, 12), 31, 32, 33])
def test_every_pixel_is_met_by_every_direction(side: int) -> None:
    for degrees in (0.0, 17.0, 45.0, 90.0, 133.0):
        physics = ParallelBeam((side, side), Views(1, degrees, degrees + 1), dtype=torch.float64)
        met = physics.A_adjoint(torch.ones_like(physics.A(torch.zeros(1, 1, side, side).double())))
        assert float(met.min()) > 0.2


def test_it_is_deepinvs_operator_divided_by_one_number() -> None:
    problem = tomography((1, 10, 10), "6:0-90", dtype=torch.float64)
    physics = problem.physics
    assert isinstance(physics, ParallelBeam)
    angles = torch.arange(6, dtype=torch.float64) * 15.0
    plain = Tomography(angles, 10, circle=False, normalize=False, dtype=torch.float64)
    x = normal(2, 1, 10, 10)
    assert torch.allclose(physics.A(x) * physics.scale, plain.A(x), atol=1e-12)
    assert f"divided by {physics.scale:.6g}" in problem.notes[0]


@pytest.mark.parametrize(
    ("size", "margins"), [((7, 10), (0, 0, 1, 2)), ((10, 7), (1, 2, 0, 0)), ((8, 12), (0, 0, 2, 2))]
)
def test_images_that_are_not_square_are_centred_the_odd_row_below_and_right(
    size: tuple[int, int], margins: tuple[int, int, int, int]
) -> None:
    # deepinv turns images about the pixel side // 2, which is the centre of an even side's two.
    physics = ParallelBeam(size, Views(5), dtype=torch.float64)
    side = max(size)
    square = ParallelBeam((side, side), Views(5), dtype=torch.float64)
    x = normal(2, 1, *size)
    padded = torch.nn.functional.pad(x, margins)
    assert padded.shape[2:] == (side, side)
    assert torch.allclose(physics.A(x), square.A(padded), atol=1e-12)
    y = normal(*physics.A(x).shape)
    left, right, top, bottom = margins
    inner = square.A_adjoint(y)[..., top : side - bottom, left : side - right]
    assert torch.allclose(physics.A_adjoint(y), inner, atol=1e-12)


def test_it_is_a_radon_transform() -> None:
    truth = shepp_logan((1, 64, 64), dtype=torch.float64)
    physics = ParallelBeam((64, 64), Views(9), dtype=torch.float64)
    ours = physics.A(truth[None])[0, 0].numpy()
    theirs = radon(truth[0].numpy(), theta=np.arange(9) * 20.0, circle=False)
    assert ours.shape == theirs.shape
    scale = np.linalg.norm(theirs)
    assert min(np.linalg.norm(ours - theirs), np.linalg.norm(ours[::-1] - theirs)) < 0.05 * scale


def test_the_inexact_adjoint_is_refused() -> None:
    physics = tomography((1, 16, 16), 8, dtype=torch.float64).physics
    assert isinstance(physics, ParallelBeam)
    physics.rays.adjoint_via_backprop = False
    with pytest.raises(AdjointError, match="adjoint_via_backprop"):
        adjoint_defect(physics, (1, 16, 16), torch.float64)


def test_precisions_agree() -> None:
    single, double = (tomography((1, 24, 24), dtype=t) for t in (torch.float32, torch.float64))
    assert single.physics.scale == double.physics.scale
    assert adjoint_defect(single.physics, (1, 24, 24)) < 1e-5
    x = torch.rand(2, 1, 24, 24, generator=torch.Generator().manual_seed(1))
    y = single.measure(x, torch.Generator().manual_seed(0))
    z = double.measure(x.double(), torch.Generator().manual_seed(0))
    assert (y.dtype, z.dtype) == (torch.float32, torch.float64)
    assert torch.allclose(y.double(), z, atol=1e-5)
    again = single.with_dtype(torch.float64)
    assert torch.equal(again.physics.A(x.double()), double.physics.A(x.double()))


def test_converting_the_physics_keeps_it_adjoint() -> None:
    physics = tomography((1, 12, 12), 5).physics
    physics.A_adjoint(physics.A(torch.ones(1, 1, 12, 12)))
    double = copy.deepcopy(physics).to(torch.float64)
    assert adjoint_defect(double, (1, 12, 12), torch.float64) < 1e-13
    assert adjoint_defect(physics, (1, 12, 12)) < 1e-5


def test_two_builds_are_equal() -> None:
    first, second = (tomography((1, 15, 15), "9:0-90", dtype=torch.float64) for _ in range(2))
    x = normal(1, 1, 15, 15)
    assert torch.equal(first.physics.A(x), second.physics.A(x))
    ray_norm.cache_clear()
    third = tomography((1, 15, 15), "9:0-90", dtype=torch.float64)
    assert third.physics.scale == first.physics.scale


def test_other_sizes_keep_the_scale() -> None:
    problem = tomography((1, 16, 16), 8, dtype=torch.float64)
    larger = problem.for_shape((1, 24, 20))
    assert larger.physics.scale == problem.physics.scale
    assert larger.image_shape == (1, 24, 20)
    assert larger.for_shape((1, 16, 16)).physics.scale == problem.physics.scale
    same = tomography((1, 24, 20), 8, unit_size=(16, 16), dtype=torch.float64)
    x = normal(1, 1, 24, 20)
    assert torch.equal(same.physics.A(x), larger.physics.A(x))
    assert tomography((1, 24, 20), 8).physics.scale != problem.physics.scale
    point = torch.zeros(1, 1, 17, 17, dtype=torch.float64)
    point[..., 8, 8] = 1.0
    near, far = (problem.for_shape((1, n, n)).physics for n in (17, 33))
    gain = float(near.A(point).norm() / far.A(torch.nn.functional.pad(point, (8,) * 4)).norm())
    assert gain == pytest.approx(1.0, abs=1e-9)  # a pixel is measured as strongly


def test_derivatives_of_every_order() -> None:
    physics = tomography((1, 4, 5), 3, dtype=torch.float64).physics
    x, y = normal(2, 1, 4, 5).requires_grad_(), normal(2, 1, 8, 3, seed=1).requires_grad_()
    for function, point in ((physics.A, x), (physics.A_adjoint, y)):
        assert torch.autograd.gradcheck(function, point)
        assert torch.autograd.gradgradcheck(lambda u, f=function: f(u).square() * f(u), point)


def test_batches_of_changing_size_are_samples_one_by_one() -> None:
    physics = tomography((2, 7, 9), 4, dtype=torch.float64).physics
    x = normal(5, 2, 7, 9)
    y = physics.A(x)
    for part in (slice(0, 5), slice(1, 3), slice(4, 5), slice(0, 4)):
        assert torch.allclose(physics.A(x[part]), y[part], atol=1e-14)
        whole = physics.A_adjoint(y)[part]
        assert torch.allclose(physics.A_adjoint(y[part]), whole, atol=1e-13)


def test_filtered_back_projection_inverts_many_directions() -> None:
    truth = shepp_logan((1, 64, 64), dtype=torch.float64)[None]
    physics = tomography((1, 64, 64), 180, dtype=torch.float64).physics
    assert isinstance(physics, ParallelBeam)
    error = physics.filtered(physics.A(truth)) - truth
    assert float(error.norm() / truth.norm()) < 0.25
    assert abs(float(error.mean())) < 0.01


@pytest.mark.parametrize("angles", ["30", "60:0-120"])
def test_the_start_is_nearer_than_the_fitted_adjoint(angles: str) -> None:
    truth = centre_crop(photographs(crop=256).test["coffee"], 96)[None]
    problem = tomography((1, 96, 96), angles)
    y = problem.measure(truth, torch.Generator().manual_seed(0))
    start = problem.start(y)
    assert start.shape == truth.shape
    other = fitted_adjoint(problem.physics, y)
    assert float((start - truth).norm()) < 0.9 * float((other - truth).norm())
    misfit = (problem.physics.A(start) - y).norm()
    for factor in (0.99, 1.01):
        assert float((problem.physics.A(factor * start) - y).norm()) > float(misfit)


def test_the_default_noise_is_one_to_two_percent() -> None:
    for name, truth in photographs(crop=128).test.items():
        problem = tomography((1, 128, 128))
        size = float(problem.physics.A(truth[None]).square().mean().sqrt())
        assert 0.008 < problem.sigma / size < 0.025, name


def test_the_description_says_what_is_measured() -> None:
    problem = tomography((1, 8, 12), "5:0-90", sigma=0.5)
    assert problem.name == "tomography"
    assert problem.description == (
        "Tomography: parallel rays from 5 directions over 0 to 90 degrees, scaled to norm 1 for "
        "8 x 12 pixels, and Gaussian noise of standard deviation 0.5."
    )


@pytest.mark.parametrize("side", [21, 32, 45, 64])
@pytest.mark.parametrize("circle", [True, False])
def test_a_detector_measures_what_scikit_image_does(side: int, circle: bool) -> None:
    """Whatever the parity of the number of detectors, which moves the axis of deepinv."""
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    blob = np.exp(-((rows - 3) ** 2 + (columns + 2) ** 2) / 4)
    blob *= rows**2 + columns**2 < (side / 2 - 2) ** 2  # nothing beyond the circle
    expected = radon(blob, np.arange(0, 180, 15.0), circle=circle)
    physics = ParallelBeam((side, side), Views(12), Detector(len(expected)), dtype=torch.float64)
    found = physics.A(torch.from_numpy(blob)[None, None])[0, 0].numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 2e-3 * expected.max()


@pytest.mark.parametrize("side", [12, 13, 16])
def test_an_axis_between_two_detectors_is_deepinvs(side: int) -> None:
    x = normal(1, 1, side, side)
    usual = ParallelBeam((side, side), Views(5), dtype=torch.float64).A(x)
    count = usual.shape[2]
    detector = Detector(count, (count - 1) / 2)
    same = ParallelBeam((side, side), Views(5), detector, dtype=torch.float64).A(x)
    assert torch.equal(same, usual)


@pytest.mark.parametrize("detector", [Detector(9), Detector(4, 0.5), Detector(40), Detector(1)])
def test_any_detector_has_its_adjoint(detector: Detector) -> None:
    problem = tomography((2, 8, 11), "5", detector=detector, dtype=torch.float64)
    assert problem.measured_shape == (2, detector.count, 5)
    assert adjoint_defect(problem.physics, (2, 8, 11), torch.float64) < 1e-14
    assert problem.for_shape((1, 6, 6)).measured_shape == (1, detector.count, 5)


def test_detectors_and_axes_that_cannot_be() -> None:
    for wrong in ({"count": 0}, {"count": 5, "axis": 5.0}, {"count": 5, "axis": 1.3}):
        with pytest.raises(InputError, match="detector"):
            Detector(**wrong)


def test_a_whole_turn_measures_each_ray_twice() -> None:
    x = normal(1, 1, 11, 11)
    detector = Detector(17)
    turn = ParallelBeam((11, 11), Views(8, 0, 360), detector, dtype=torch.float64).A(x)
    assert torch.allclose(turn[..., 4:], turn[..., :4].flip(2), atol=1e-12)
    half = ParallelBeam((11, 11), Views(4), detector, dtype=torch.float64)
    both = ParallelBeam((11, 11), Views(8, 0, 360), detector, dtype=torch.float64)
    assert torch.allclose(both.filtered(turn), half.filtered(turn[..., :4]), atol=1e-12)


def test_listed_directions_are_measured_in_their_order() -> None:
    x = normal(1, 1, 9, 9)
    listed = ParallelBeam((9, 9), Views.of([90.0, 0.0, 45.0]), dtype=torch.float64).A(x)
    equal = ParallelBeam((9, 9), Views(4), dtype=torch.float64).A(x)
    assert torch.allclose(listed, equal[..., [2, 0, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("error", "said", "shape", "options"),
    [
        (InputError, "C, H, W", (1, 8), {}),
        (InputError, "C, H, W", (1, 8, 8, 8), {}),
        (InputError, "noise level", (1, 8, 8), {"sigma": -1.0}),
        (InputError, "at least one direction", (1, 8, 8), {"angles": 0}),
        (UsageError, "30", (1, 8, 8), {"angles": "several"}),
        (UsageError, "float32 or torch.float64", (1, 8, 8), {"dtype": torch.float16}),
        (InputError, "positive", (1, 8, 8), {"unit_size": (0, 8)}),
    ],
)
def test_impossible_tomographs_are_refused(error, said, shape, options) -> None:
    with pytest.raises(error, match=said):
        tomography(shape, **options)


def test_images_of_another_size_are_refused() -> None:
    problem = tomography((1, 8, 8), 3)
    with pytest.raises(InputError, match="8 x 8"):
        problem.physics.A(torch.zeros(1, 1, 9, 9))


def test_sizes_that_no_memory_holds_are_refused_first() -> None:
    for shape, views, unit in (
        ((1, 200_000, 200_000), "1", None),
        ((1, 8, 8), "4", (10**9, 10**9)),
        ((1, 512, 512), "100000", None),
    ):
        with pytest.raises(InputError, match="more than memory holds"):
            tomography(shape, views, unit_size=unit)
