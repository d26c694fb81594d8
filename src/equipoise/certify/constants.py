"""The constants of A and of R, each between a number from below and one from above."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equipoise.bounds import Bound, estimated, inflate, proved
from equipoise.certify.symmetry import SymmetryDefect, symmetry_defect
from equipoise.equation import Equation
from equipoise.errors import HypothesisError
from equipoise.fields import Linearization, Traits
from equipoise.gram import Gram, SpectralCalculus
from equipoise.linear.lanczos import ritz_values
from equipoise.modes import verb
from equipoise.randomness import normal_like
from equipoise.regularizers.base import Regularizer
from equipoise.vectors import expand, norm

#: Products with ``A^T A`` that approach the ends of an unknown spectrum.
PHYSICS_STEPS = 30
#: Products with the Jacobian of R at each point where it is measured.
FIELD_STEPS = 16
#: Pixels of the central crop on which fields that take any size are measured.
CROP = 128 * 128
#: Amplitude of the noise added to an image to get a further point, on the scale of [0, 1].
FURTHER = 0.1
#: Units of rounding by which a measurement may exceed a proved constant.
CONTRADICTION = 1e3


@dataclass(frozen=True)
class Bracket:
    """A number between two others, each with its standing; None where nothing is known.

    Args:
        below: at most the number.
        above: at least the number.
    """

    below: Bound | None
    above: Bound | None


@dataclass(frozen=True)
class PhysicsConstants:
    """What is known of A: of the operator itself, without the weight of the data fidelity.

    Args:
        norm: ``||A||``.
        least: the smallest singular value s_-, 0 where A has a kernel.
        kernel: dimension of the kernel, real dimensions of one sample.
        unknowns: real numbers in one image.
        measurements: real numbers in the measurements of one sample.
    """

    norm: Bracket
    least: Bracket
    kernel: Bracket
    unknowns: int
    measurements: int


@dataclass(frozen=True)
class FieldConstants:
    """What is known of R: proved from its traits, estimated at a few images.

    Args:
        lipschitz: the Lipschitz constant.
        modulus: the largest mu with ``<R(x) - R(z), x - z> >= mu ||x - z||^2``.
        defect: symmetry defect of the Jacobian at the first image.
        where: images at which the Jacobian was measured, a phrase.
        products: number of products with the Jacobian or its transpose that this took.
    """

    lipschitz: Bracket
    modulus: Bracket
    defect: SymmetryDefect
    where: str
    products: int


@verb
def physics_constants(equation: Equation, *, seed: int = 0) -> PhysicsConstants:
    """Bound the singular values of A and the dimension of its kernel.

    Exact (proved) for a decomposable physics whose decomposition holds and attains its extremes.
    Otherwise ``s_- >= 0`` is proved and Lanczos' method on ``A^T A`` estimates the rest: each of
    its values lies inside the spectrum, so that the norm may be larger and s_- smaller than found.
    ``s_- = 0`` and a kernel are proved where there are fewer measurements than unknowns.
    Where every sample has an operator of its own, each bracket holds for all of them.

    Args:
        equation: any equation; its y and regulariser do not matter.
        seed: of Lanczos' starting vector.

    Returns:
        The brackets (theory, summary).

    Raises:
        InputError: if what the equation refers to has been changed since it was built.
    """
    equation.check_unchanged()
    with torch.no_grad():
        gram, measurements = equation.data.gram, real_numbers(equation.y)
        if gram.calculus is None:
            return _estimated_physics(gram, measurements, seed)
        return _exact_physics(gram.calculus, gram.like, measurements)


def _exact_physics(calculus: SpectralCalculus, like: Tensor, measurements: int) -> PhysicsConstants:
    unknowns = real_numbers(like)
    coefficients = calculus.physics.V_adjoint(like)
    values = calculus.values.broadcast_to(
        torch.broadcast_shapes(calculus.values.shape, coefficients.shape)
    )
    rows = values.flatten(1)  # one for each operator
    tops, bottoms = rows.amax(1), rows.amin(1)
    slack = calculus.rounding
    why = "decomposition"
    complete = real_numbers(coefficients) == unknowns  # then V is unitary: every value is attained
    norm_above = proved(inflate(float(tops.max())), why)
    least_below = proved(max(0.0, float(bottoms.min()) - slack) / inflate(1.0), why)
    found_top = complete or _attained(calculus, coefficients, values, rows.argmax(1))
    found_bottom = complete or _attained(calculus, coefficients, values, rows.argmin(1))
    top, bottom = float(tops.min()), float(bottoms.max())  # what no operator falls short of
    norm_below = (proved if found_top else estimated)(max(0.0, top - slack) / inflate(1.0), why)
    exact_zero = bottom == 0.0 and found_bottom
    least_above = (proved if found_bottom else estimated)(
        0.0 if exact_zero else inflate(bottom + slack), why
    )
    if least_below.value > 0:
        kernel = Bracket(proved(0.0, why), proved(0.0, why))
    elif complete and calculus.kernel_is_exact:
        zeros = (rows == 0).sum(1)
        exact = "singular values that are exactly zero"
        most = proved(float(zeros.max()), exact) if bool((zeros > 0).all()) else None
        kernel = Bracket(proved(float(zeros.min()), exact), most)
    else:
        count = proved(max(0, unknowns - measurements), "count of measurements")
        seen = proved(1.0, "a singular value that is exactly zero")
        kernel = Bracket(seen if exact_zero and count.value < 1 else count, None)
    return PhysicsConstants(
        Bracket(norm_below, norm_above),
        Bracket(least_below, least_above),
        kernel,
        unknowns,
        measurements,
    )


def _attained(
    calculus: SpectralCalculus, coefficients: Tensor, values: Tensor, places: Tensor
) -> bool:
    """Whether the singular value at one place of each row belongs to an image.

    Tried on the image that the place points to.
    """
    spikes = torch.zeros(values.shape, dtype=coefficients.dtype, device=coefficients.device)
    spikes.flatten(1)[torch.arange(len(values)), places] = 1.0
    images = calculus.physics.V(spikes)
    sizes = norm(images)
    if not bool((sizes >= 1e-3).all()):
        return False
    gains = norm(calculus.physics.A(images / expand(sizes, images)))
    wanted = values.flatten(1).gather(1, places.unsqueeze(1)).squeeze(1)
    return bool(((gains - wanted).abs() <= 100.0 * calculus.rounding).all())


def real_numbers(v: Tensor) -> int:
    """Real numbers in one sample."""
    return v[0].numel() * (2 if v.is_complex() else 1)


def _estimated_physics(gram: Gram, measurements: int, seed: int) -> PhysicsConstants:
    unknowns = real_numbers(gram.like)
    found = ritz_values(gram, normal_like(gram.like, seed), PHYSICS_STEPS)
    why = f"{found.products} steps of Lanczos' method"
    top = float(found.highest.clamp_min(0.0).sqrt().min())
    bottom = float(found.lowest.clamp_min(0.0).sqrt().max())
    missing = max(0, unknowns - measurements)
    count = proved(float(missing), "count of measurements")
    least = proved(0.0, "fewer measurements than unknowns") if missing else estimated(bottom, why)
    return PhysicsConstants(
        Bracket(estimated(top, why), None),
        Bracket(proved(0.0, "any linear A"), least),
        Bracket(count, None),
        unknowns,
        measurements,
    )


@verb
def regularizer_constants(
    regularizer: Regularizer,
    x: Tensor,
    *,
    steps: int = FIELD_STEPS,
    probes: int = 8,
    seed: int = 0,
) -> FieldConstants:
    """Bound the Lipschitz constant and the modulus of R from both sides.

    The traits give what is proved. Lanczos' method on the Jacobian's symmetric part (and, where R
    is no gradient, on ``J^T J``) at x, at the flat image of its means and at x with noise gives a
    Lipschitz constant that is reached and a modulus that is not exceeded: the truth lies between.
    A field that takes images of any size is measured on a central crop, to bound the cost.

    Args:
        regularizer: the field R.
        x: images, shape (B, C, ...), of which the first is used.
        steps: products at each point.
        probes: probes of the symmetry defect.
        seed: of the starting vectors, the noise and the probes.

    Returns:
        The brackets (theory, section 10), PROVED as far as the traits are.

    Raises:
        HypothesisError: if what is measured contradicts a trait that is declared to be proved.
    """
    one = x[:1].detach() if regularizer.image_shape else central_crop(x[:1].detach())
    with torch.no_grad():
        frozen = regularizer.frozen()
        points = _points(one, seed)
        size, low, products = 0.0, torch.inf, 0
        for number, point in enumerate(points):
            near = frozen.linearize(point)
            start = normal_like(point, seed + number)
            measured = _field_ends(near, start, steps)
            size, low = max(size, measured[0]), min(low, measured[1])
            products += measured[2]
            del near  # before the next one is made: it may hold a graph or features
    defect = symmetry_defect(regularizer, one, probes=probes, seed=seed)
    where = f"{len(points)} images of {' x '.join(str(n) for n in one.shape[2:])} pixels"
    why = f"Lanczos' method at {where}"
    traits = regularizer.traits()
    above, below = lipschitz_from_traits(traits), modulus_from_traits(traits)
    rounding = CONTRADICTION * torch.finfo(one.dtype).eps
    _refuse_contradiction(type(regularizer).__name__, traits, size, low, rounding)
    if above is not None and above.proved:
        size = min(size, above.value)
    if below is not None and below.proved:
        low = max(low, below.value)
    return FieldConstants(
        Bracket(estimated(size, why), above),
        Bracket(below, estimated(low, why)),
        defect,
        where,
        products,
    )


def central_crop(x: Tensor) -> Tensor:
    """The middle of images of shape (B, C, *spatial), at most :data:`CROP` pixels.

    Sides are cut to multiples of 8, which networks that change resolution want.
    """
    spatial = x.shape[2:]
    if spatial.numel() <= CROP:
        return x
    side = 8 * int(round(CROP ** (1.0 / len(spatial))) // 8)
    for axis, size in enumerate(spatial, start=2):
        keep = min(size, side)
        x = x.narrow(axis, (size - keep) // 2, keep)
    return x.contiguous()


def _refuse_contradiction(
    name: str, traits: Traits, size: float, low: float, rounding: float
) -> None:
    high, mu = traits.lipschitz, traits.modulus
    advice = "Its traits are wrong; equipoise.testing.check_regularizer finds out where."
    if high is not None and high.proved and size > high.value + rounding * size:
        raise HypothesisError(
            f"{name} declares the Lipschitz constant {high}, but {size:.8g} was measured. {advice}"
        )
    if mu is not None and mu.proved and low < mu.value - rounding * size:
        raise HypothesisError(
            f"{name} declares the modulus {mu}, but {low:.8g} was measured. {advice}"
        )


def lipschitz_from_traits(traits: Traits) -> Bound | None:
    """The Lipschitz constant that R declares, rounded up."""
    bound = traits.lipschitz
    return None if bound is None else replace(bound, value=inflate(bound.value))


def modulus_from_traits(traits: Traits) -> Bound | None:
    """The modulus that R declares, rounded down; ``mu >= -L`` where it declares L alone."""
    bound, high = traits.modulus, lipschitz_from_traits(traits)
    if bound is None:
        if high is None:
            return None
        return Bound(-high.value, high.kind, "Cauchy-Schwarz and the Lipschitz constant")
    rounded = bound.value / inflate(1.0) if bound.value > 0 else -inflate(-bound.value)
    return replace(bound, value=0.0 + rounded)


def _points(one: Tensor, seed: int) -> list[Tensor]:
    flat = one.flatten(2).mean(2).reshape(1, -1, *[1] * (one.dim() - 2)).expand_as(one)
    return [one, flat.contiguous(), one + FURTHER * normal_like(one, seed + 100)]


def _field_ends(near: Linearization, start: Tensor, steps: int) -> tuple[float, float, int]:
    """Largest ``||J v||`` and smallest ``<J v, v>`` found over unit v, and the products spent."""
    if near.vjp is near.jvp:
        found = ritz_values(near.jvp, start, steps)
        largest = torch.maximum(found.highest.abs(), found.lowest.abs())
        return float(largest.max()), float(found.lowest.min()), found.products
    symmetric = ritz_values(lambda v: 0.5 * (near.jvp(v) + near.vjp(v)), start, steps)
    squared = ritz_values(lambda v: near.vjp(near.jvp(v)), start, steps)
    return (
        float(squared.highest.clamp_min(0.0).sqrt().max()),
        float(symmetric.lowest.min()),
        2 * (symmetric.products + squared.products),
    )
