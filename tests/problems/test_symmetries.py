"""Which flips and rotations commute with a physics, and how batches are turned."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from deepinv.physics import LinearPhysics
from torch import Tensor

from equipoise.problems import (
    Problem,
    Symmetry,
    deblur,
    denoise,
    dihedral,
    inpaint,
    symmetries,
    tomography,
)
from equipoise.problems.symmetries import inverse, turn

F64 = {"dtype": torch.float64}
SQUARE, WIDE = (1, 12, 12), (2, 12, 9)
ALL = [(e, e) for e in range(8)]
EVEN = [(e, e) for e in (0, 2, 4, 6)]


def rows(kept: list[int]) -> Tensor:
    mask = torch.zeros(12, 12)
    mask[kept] = 1.0
    return mask


def found(problem: Problem) -> list[tuple[int, int]]:
    pairs = symmetries(problem.physics, problem.image_shape, dtype=problem.dtype)
    return [(s.image, s.measurement) for s in pairs]


CASES: dict[str, tuple[Callable[[torch.dtype], Problem], list[tuple[int, int]]]] = {
    "identity": (lambda dtype: denoise(SQUARE, dtype=dtype), ALL),
    "not square": (lambda dtype: denoise(WIDE, dtype=dtype), EVEN),
    "blur": (lambda dtype: deblur(SQUARE, "gaussian:1.0", dtype=dtype), ALL),
    "valid blur": (lambda dtype: deblur(SQUARE, "gaussian:1.0", padding="valid", dtype=dtype), ALL),
    "motion": (lambda dtype: deblur(SQUARE, "motion:7:0", dtype=dtype), EVEN),
    "slanted motion": (lambda dtype: deblur(SQUARE, "motion:7:30", dtype=dtype), [(0, 0), (2, 2)]),
    "random mask": (lambda dtype: inpaint(SQUARE, 0.5, dtype=dtype), [(0, 0)]),
    "rows": (lambda dtype: inpaint(SQUARE, rows([0, 1, 5]), dtype=dtype), [(0, 0), (4, 4)]),
    "symmetric rows": (lambda dtype: inpaint(SQUARE, rows([0, 3, 8, 11]), dtype=dtype), EVEN),
    "tomography": (lambda dtype: tomography((1, 32, 32), 30, dtype=dtype), [(0, 0), (2, 6)]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_symmetries_of_the_tasks(name: str, dtype: torch.dtype) -> None:
    build, expected = CASES[name]
    assert found(build(dtype)) == expected


def test_a_kernel_that_is_almost_symmetric_is_refused() -> None:
    kernel = torch.ones(3, 3, dtype=torch.float64)
    assert found(deblur(SQUARE, kernel, **F64)) == ALL
    kernel[0, 0] += 1e-3
    # The diagonal through the corner is the one symmetry that is left.
    left = found(deblur(SQUARE, kernel, **F64))
    assert len(left) == 2
    assert torch.equal(dihedral(kernel, left[1][0]), kernel)


class Flattened(LinearPhysics):
    """The identity with measurements that are vectors."""

    def A(self, x: Tensor, **_: object) -> Tensor:
        return x.flatten(1)

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        return y.reshape(-1, *SQUARE)


def test_vectors_have_no_flips() -> None:
    assert symmetries(Flattened(), SQUARE) == (Symmetry(0, 0),)
    assert symmetries(denoise((1, 12)).physics, (1, 12)) == (Symmetry(0, 0),)


def test_each_image_of_a_batch_is_turned_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 2, 5, 5, generator=generator)
    turned = turn(images, torch.arange(8))
    for element in range(8):
        assert torch.equal(turned[element], dihedral(images[element], element))
    wide = torch.randn(4, 3, 4, 6, generator=generator)
    even = torch.tensor([0, 2, 4, 6])
    turned = turn(wide, even)
    for row, element in enumerate(even.tolist()):
        assert torch.equal(turned[row], dihedral(wide[row], element))


@pytest.mark.parametrize("element", range(8))
def test_inverses_undo(element: int) -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    back = turn(turn(image, torch.tensor([element])), torch.tensor([inverse(element)]))
    assert torch.equal(back, image)
