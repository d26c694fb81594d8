"""A user's physics in the precision of the images."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import deepinv.physics as P
import pytest
import torch
from deepinv.physics import Blur, BlurFFT, LinearPhysics, Tomography
from deepinv.physics.forward import adjoint_function
from torch import Tensor

from equipoise.adjointness import adjoint_defect
from equipoise.conversion import in_double, in_precision
from equipoise.errors import InputError
from equipoise.learn import TrainSettings, learn
from equipoise.problems import from_physics

SHAPE = (1, 12, 12)
KERNEL = torch.tensor([[1.0, 2.0, 1.0], [2.0, 5.0, 3.0], [0.0, 1.0, 2.0]])[None, None] / 17
MATRIX = torch.randn(20, 144, generator=torch.Generator().manual_seed(1))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def images(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(2, *shape, generator=seeded()).to(dtype)


def roll(x: Tensor, **kwargs: object) -> Tensor:
    return x.roll(1, -1) + 2 * x


def product(x: Tensor, matrix: Tensor, **kwargs: object) -> Tensor:
    return x.flatten(1) @ matrix.mT


def transposed(y: Tensor, matrix: Tensor, **kwargs: object) -> Tensor:
    return (y @ matrix).reshape(-1, *SHAPE)


class Scanner:
    """A tool of the user's, whose methods are the operator."""

    def __init__(self) -> None:
        self.matrix = MATRIX

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return product(x, self.matrix)

    def adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return transposed(y, self.matrix)


class Plain(LinearPhysics):
    """Tensors in plain attributes, a list, a tuple and a dictionary; a dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rows = MATRIX[:5], [MATRIX[5:10]]
        self.more, self.named = (MATRIX[10:15], "a word"), {"rest": MATRIX[15:]}
        self.precision = torch.float32

    @property
    def parts(self) -> list[Tensor]:
        return [self.first, self.rows[0], self.more[0], self.named["rest"]]

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return torch.cat([product(x.to(self.precision), part) for part in self.parts], 1)

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        pieces = y.to(self.precision).split(5, 1)
        return torch.stack(list(map(transposed, pieces, self.parts))).sum(0)


def used_tomograph() -> LinearPhysics:
    """deepinv keeps the adjoint of the first use, in that precision."""
    made = Tomography(angles=7, img_width=12, normalize=True)
    made.A_adjoint(made.A(images(torch.float32)[:1]))
    return made


def of_matrix() -> LinearPhysics:
    return LinearPhysics(
        A=partial(product, matrix=MATRIX), A_adjoint=partial(transposed, matrix=MATRIX)
    )


def of_methods() -> LinearPhysics:
    scanner = Scanner()
    return LinearPhysics(A=scanner.A, A_adjoint=scanner.adjoint)


SINGLE: dict[str, Callable[[], LinearPhysics]] = {
    "kernel": lambda: Blur(filter=KERNEL, padding="valid"),
    "transfer function": lambda: BlurFFT(img_size=SHAPE, filter=KERNEL),
    "tomograph": lambda: Tomography(angles=7, img_width=12, normalize=True),
    "fan beam": lambda: Tomography(angles=7, img_width=12, normalize=False, fan_beam=True),
    "used tomograph": used_tomograph,
    "automatic adjoint": lambda: LinearPhysics(A=roll, img_size=SHAPE),
    "automatic adjoint without a size": lambda: LinearPhysics(A=roll),
    "adjoint function": lambda: LinearPhysics(
        A=roll, A_adjoint=adjoint_function(roll, (1, *SHAPE))
    ),
    "automatic factors": lambda: P.DecomposablePhysics(
        U=lambda x: x.flip(-1),
        V_adjoint=lambda x: x.mT,
        mask=MATRIX[:1].reshape(1, *SHAPE),
        img_size=SHAPE,
    ),
    "compressed sensing": lambda: P.CompressedSensing(20, SHAPE, rng=seeded()),
    "plain attributes": Plain,
    "methods": of_methods,
    "arguments": of_matrix,
    "varying blur": lambda: P.SpaceVaryingBlur(
        filters=KERNEL[:, :, None], multipliers=torch.ones(1, 1, 1, 12, 12), padding="valid"
    ),
    "stack": lambda: P.stack(P.Inpainting(SHAPE, mask=images(torch.float32)[:1]), of_matrix()),
    "composition": lambda: P.compose(BlurFFT(img_size=SHAPE, filter=KERNEL), of_matrix()),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_physics_of_float32_works_in_float64(name: str) -> None:
    made = SINGLE[name]()
    single = from_physics(lambda shape: made, SHAPE, sigma=0.1)
    double = single.with_dtype(torch.float64)
    assert adjoint_defect(double.physics, SHAPE, torch.float64) < 1e-14
    result = double.physics.A(images(torch.float64))
    assert result.dtype == torch.float64
    plain = single.physics.A(images(torch.float32))
    assert plain.dtype == torch.float32
    torch.testing.assert_close(result, plain.double(), rtol=1e-5, atol=1e-5)
    assert adjoint_defect(single.physics, SHAPE, torch.float32) < 1e-6


@pytest.mark.parametrize("name", SINGLE)
def test_the_users_object_is_left_as_it_was(name: str) -> None:
    made = SINGLE[name]()
    before = [(tensor.dtype, tensor.clone()) for tensor in (*made.parameters(), *made.buffers())]
    attributes = set(vars(made))
    in_precision(made, torch.float64, SHAPE)
    after = (*made.parameters(), *made.buffers())
    assert all(
        tensor.dtype == dtype and torch.equal(tensor, value)
        for tensor, (dtype, value) in zip(after, before, strict=True)
    )
    assert set(vars(made)) == attributes


def test_shared_tensors_stay_shared_and_parameters_stay_parameters() -> None:
    made = LinearPhysics()
    made.weight = torch.nn.Parameter(MATRIX.clone(), requires_grad=False)
    made.same = made.weight
    double = in_precision(made, torch.float64)
    assert isinstance(double.weight, torch.nn.Parameter)
    assert double.weight.dtype == torch.float64
    assert double.same is double.weight
    assert not double.weight.requires_grad


def test_nothing_is_copied_where_the_precision_is_right() -> None:
    physics = Blur(filter=KERNEL, padding="valid")
    assert in_precision(physics, torch.float32) is physics


def test_tensors_inside_of_functions_are_refused_with_advice() -> None:
    def closed(shape: object) -> LinearPhysics:
        return LinearPhysics(A=lambda x, **k: x.flatten(1) @ MATRIX.mT, img_size=SHAPE)

    assert from_physics(closed, SHAPE).dtype == torch.float32
    with pytest.raises(InputError, match="hold its tensors as attributes"):
        from_physics(closed, SHAPE, dtype=torch.float64)


def test_complex_measurements_stay_complex_in_double() -> None:
    y = torch.complex(MATRIX, 2 * MATRIX)
    assert in_double(y).dtype == torch.complex128
    assert torch.equal(in_double(y), y.to(torch.complex128))
    assert in_double(MATRIX).dtype == torch.float64


def coils(shape: tuple[int, ...]) -> LinearPhysics:
    size = shape[-2:]
    generator = seeded()
    mask = (torch.rand(size, generator=generator) > 0.4).float()
    maps = torch.randn(4, *size, generator=generator, dtype=torch.complex64)
    return P.MultiCoilMRI(mask=mask, coil_maps=maps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_several_coils_are_measured_where_the_mask_observes(dtype: torch.dtype) -> None:
    shape = (2, 12, 12)
    problem = from_physics(coils, shape, sigma=0.1, dtype=dtype)
    x = images(dtype, shape)
    noise = problem.measure(x, seeded()) - problem.physics.A(x)
    assert noise.shape == (2, 2, 4, 12, 12)
    seen = (problem.physics.mask != 0)[:, :, None].expand_as(noise)
    assert bool((noise[~seen] == 0).all())
    assert float(noise[seen].std()) == pytest.approx(0.1, rel=0.1)


def test_several_coils_are_learned() -> None:
    problem = from_physics(coils, (2, 12, 12), sigma=0.1)
    pictures = list(images(torch.float32, (2, 12, 12)))
    settings = TrainSettings(steps=1, patches=2, patch_size=12, batch_size=2, augment=True)
    config = {"filters": (2, 3), "kernel_size": 3}
    result = learn("crr", config, problem, pictures, pictures[:1], settings)
    assert result.log.validation_converged == [1.0, 1.0]
