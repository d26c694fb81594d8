"""The part of the contract that tests what a regulariser declares of itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from equipoise.certify import regularizer_constants
from equipoise.errors import HypothesisError
from equipoise.regularizers.base import Regularizer
from equipoise.testing.oracles import dense_jacobian
from equipoise.testing.requirements import (
    image_sizes,
    in_double,
    random_image,
    require,
)
from equipoise.vectors import norm

#: Relative slack of bounds, which covers the rounding of dense eigenvalues.
SLACK = 1e-10
#: Amplitudes of the random images at which bounds are tried.
AMPLITUDES = (0.01, 0.1, 1.0, 10.0)
#: Pixels an axis of larger images, on which constants that hold for every size show themselves.
LARGER = {1: 256, 2: 32, 3: 12}
#: Amplitudes at which behaviour far away is tried: by then potentials have taken their last shape.
FAR = (1e6, 1e8)


def check_traits(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """Proved traits hold for dense Jacobians at random, zero and constant images of two sizes."""
    r = in_double(regularizer)
    traits = r.traits()
    if not any(b is not None and b.proved for b in (traits.modulus, traits.lipschitz)):
        return
    _check_lasting(in_double(regularizer))
    for size in image_sizes(regularizer, shape):
        image = (1, *size[1:])
        points = [a * random_image(image, seed + k) for k, a in enumerate(AMPLITUDES)]
        points += [torch.zeros_like(points[0]), torch.ones_like(points[0])]
        for x in points:
            _check_bounds(r, dense_jacobian(r, x), f"at an image of shape {image}")
    if r.image_shape is None and len(shape) - 2 in LARGER:
        larger = (1, shape[1], *[LARGER[len(shape) - 2]] * (len(shape) - 2))
        for a in AMPLITUDES[:3]:
            _check_measured(r, a * random_image(larger, seed))


def _check_lasting(regularizer: Regularizer) -> None:
    """Numbers that are asked for later are those of the parameters as they were."""
    earlier, known = regularizer.traits(), regularizer.traits()
    expected = (known.modulus, known.lipschitz)
    for parameter in regularizer.parameters():
        parameter.data.mul_(3.0).add_(1.0)
    require(
        (earlier.modulus, earlier.lipschitz) == expected,
        f"traits change with the parameters after traits() was called: modulus "
        f"{expected[0]} became {earlier.modulus}, lipschitz {expected[1]} {earlier.lipschitz}",
    )


def _check_measured(regularizer: Regularizer, x: Tensor) -> None:
    """Lanczos' method at x and at a flat image contradicts no proved constant."""
    try:
        regularizer_constants(regularizer, x, probes=2)
    except HypothesisError as error:
        require(False, f"at an image of shape {tuple(x.shape)}, {error}")


def _check_bounds(regularizer: Regularizer, jacobian: Tensor, where: str) -> None:
    traits = regularizer.traits()
    mu, high = traits.modulus, traits.lipschitz
    size = float(torch.linalg.matrix_norm(jacobian, 2))
    slack = SLACK * max(1.0, size)
    if mu is not None and mu.proved:
        low = float(torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[0])
        require(
            low >= mu.value - slack,
            f"modulus {mu} is declared, but <J v, v> = {low:.8g} ||v||^2 occurs {where}",
        )
    if high is not None and high.proved:
        require(
            size <= high.value + slack,
            f"lipschitz {high} is declared, but ||J v|| = {size:.8g} ||v|| occurs {where}",
        )
    if traits.disc and mu is not None and high is not None and mu.proved and high.proved:
        middle = 0.5 * (high.value + mu.value) * torch.eye(len(jacobian), dtype=jacobian.dtype)
        radius = float(torch.linalg.matrix_norm(jacobian - middle, 2))
        require(
            radius <= 0.5 * (high.value - mu.value) + slack,
            f"the disc hypothesis is declared, but ||J - (L + mu)/2 I|| = {radius:.8g} is more "
            f"than (L - mu)/2 {where}",
        )


def check_far_away(regularizer: Regularizer, shape: Sequence[int], seed: int = 0) -> None:
    """A field that is declared bounded stops growing, one that is declared linear is so; a
    potential that is declared to attain minima with every data term does not fall without end."""
    r, v = in_double(regularizer).requires_grad_(False), random_image(shape, seed)
    traits = r.traits()
    near, far = FAR
    if traits.linear:
        w = random_image(shape, seed + 1)
        missed = norm(r.field(3.0 * v - w) - 3.0 * r.field(v) + r.field(w)).max()
        size = float(norm(r.field(v)).max() + norm(r.field(w)).max())
        require(
            float(missed) <= SLACK * size,
            f"R is declared linear, but misses R(3 x - z) = 3 R(x) - R(z) by {float(missed):.4g}",
        )
    if traits.bounded:
        sizes = [float(norm(r.field(a * v)).max().detach()) for a in (1.0, near, far)]
        require(
            sizes[2] <= 2.0 * max(sizes[:2]),
            f"R is declared bounded, but ||R(x)|| grows from {sizes[1]:.4g} to {sizes[2]:.4g} "
            f"between amplitudes {near:g} and {far:g}",
        )
    if not traits.attaining:
        return
    require(traits.gradient_field, "attaining is declared of a field that is no gradient")
    for x in (v, -v, torch.ones_like(v), -torch.ones_like(v)):
        first, last = (float(r.potential(a * x).detach().min()) for a in (near, far))
        require(
            last >= first - 1.0 - 1e-3 * abs(first),
            f"attaining is declared, but the potential falls from {first:.4g} to {last:.4g} "
            f"between amplitudes {near:g} and {far:g}",
        )
