"""Constants against dense singular values and eigenvalues."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from deepinv.physics import MRI, BlurFFT, LinearPhysics
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import (
    EXACT,
    FIELDS,
    IMAGE,
    INJECTIVE,
    PHYSICS,
    PIXELS,
    STRONG,
    Instance,
    Linear,
    dense_field,
    dense_physics,
    make_field,
    make_physics,
    normal,
    rotation,
    scalar,
)
from torch import Tensor

from equipoise.bounds import inflate, proved
from equipoise.certify.constants import (
    CROP,
    central_crop,
    modulus_from_traits,
    physics_constants,
    regularizer_constants,
)
from equipoise.equation import Equation
from equipoise.errors import HypothesisError
from equipoise.fields import Field, Fold, Traits
from equipoise.linear.lanczos import ritz_values
from equipoise.regularizers import Regularizer, Residual, Tikhonov, build
from equipoise.regularizers.base import Constants, Linearization

SEEDS = st.integers(0, 10_000)


def extremes(jacobian: Tensor) -> tuple[float, float]:
    """Norm and least eigenvalue of the symmetric part."""
    low = torch.linalg.eigvalsh(0.5 * (jacobian + jacobian.mT))[0]
    return float(torch.linalg.matrix_norm(jacobian, 2)), float(low)


def solver_rounding(jacobian: Tensor) -> float:
    """How far LAPACK's eigenvalues may be from the exact ones of the given matrix."""
    n = len(jacobian)
    return n * torch.finfo(torch.float64).eps * float(torch.linalg.matrix_norm(jacobian, 2))


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(PHYSICS), seed=SEEDS)
def test_physics_brackets_hold_dense_singular_values(name: str, seed: int) -> None:
    instance = Instance(name, "tikhonov", seed)
    values = torch.linalg.svdvals(instance.A)
    least = float(values[-1]) if len(values) == PIXELS else 0.0
    found = physics_constants(instance.equation, seed=seed)
    assert found.norm.below is not None
    assert found.least.below is not None
    assert found.least.above is not None
    assert found.norm.below.value <= float(values[0])
    assert found.least.below.value <= least
    assert found.least.below.proved
    assert least <= found.least.above.value
    if found.norm.above is not None:
        assert found.norm.above.proved
        assert float(values[0]) <= found.norm.above.value
    if name in EXACT:
        assert found.norm.above is not None
        assert found.norm.below.proved
        assert found.least.above.proved
        assert found.norm.above.value <= 1.01 * found.norm.below.value
        assert found.least.above.value <= 1.01 * found.least.below.value + 1e-14
    else:
        assert found.norm.above is None
        assert not found.norm.below.proved
        assert float(values[0]) <= 1.01 * found.norm.below.value


@pytest.mark.parametrize("name", PHYSICS)
@pytest.mark.parametrize("seed", [0, 7])
def test_kernel_is_counted(name: str, seed: int) -> None:
    instance = Instance(name, "tikhonov", seed)
    dimension = PIXELS - int(torch.linalg.matrix_rank(instance.A, tol=1e-12))
    kernel = physics_constants(instance.equation).kernel
    assert kernel.below is not None
    assert kernel.below.proved
    if name == "deficient":  # nothing shows without a decomposition
        assert (kernel.below.value, kernel.above) == (0.0, None)
        return
    assert kernel.below.value == dimension
    if name in EXACT:
        assert kernel.above is not None
        assert kernel.above.value == dimension
        assert (dimension == 0) == (name in INJECTIVE)


def test_fewer_measurements_prove_that_the_least_singular_value_is_zero() -> None:
    found = physics_constants(Instance("wide", "tikhonov").equation)
    assert found.least.above == found.least.above.__class__(
        0.0, proved(0.0).kind, "fewer measurements than unknowns"
    )
    assert (found.unknowns, found.measurements) == (PIXELS, 12)


def test_single_coil_mri_is_exact() -> None:
    mask = torch.zeros(1, 2, 6, 6)
    mask[..., ::2] = 1.0
    physics = MRI(mask=mask, img_size=(2, 6, 6)).double()
    y = physics.A(normal(1, 2, 6, 6, seed=0))
    found = physics_constants(Equation(physics, y, Tikhonov()))
    values = torch.linalg.svdvals(dense_physics(physics, (2, 6, 6)))
    assert found.norm.above is not None
    assert found.norm.below is not None
    assert found.norm.below.proved
    assert found.norm.below.value <= float(values[0]) <= found.norm.above.value
    assert found.kernel.below is not None
    assert found.kernel.below.value == int((values < 1e-12).sum()) == 36


def test_transfer_functions_that_vanish_up_to_rounding_claim_no_kernel() -> None:
    box = torch.full((1, 1, 1, 3), 1 / 3, dtype=torch.float64)  # kills a frequency, up to rounding
    physics = BlurFFT((1, 2, 18), filter=box)
    equation = Equation(physics, physics.A(normal(1, 1, 2, 18, seed=0)), Tikhonov())
    found = physics_constants(equation)
    assert found.least.below is not None
    assert found.least.above is not None
    assert found.least.below.value == 0.0
    assert 0.0 < found.least.above.value < 1e-12
    assert found.kernel.below is not None
    assert (found.kernel.below.value, found.kernel.above) == (0.0, None)


def test_transfer_functions_that_vanish_exactly_claim_one() -> None:
    box = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)  # kills the highest frequency
    physics = BlurFFT((1, 4, 4), filter=box)
    assert bool((physics.mask == 0).any())
    equation = Equation(physics, physics.A(normal(1, 1, 4, 4, seed=0)), Tikhonov())
    found = physics_constants(equation)
    assert found.least.above == proved(0.0, "decomposition")
    assert found.kernel.below is not None
    assert found.kernel.below.value == 1.0
    assert found.kernel.below.proved


def test_data_weight_does_not_change_the_constants_of_the_operator() -> None:
    from deepinv.optim import L2

    instance = Instance("blur", "tikhonov")
    plain = physics_constants(instance.equation)
    weighted = Equation(instance.physics, instance.y, Tikhonov(), 0.5, L2(sigma=0.1))
    assert physics_constants(weighted) == plain


class TestLanczos:
    @settings(max_examples=30, deadline=None)
    @given(seed=SEEDS, steps=st.integers(1, 30), n=st.integers(1, 12))
    def test_values_lie_inside_the_spectrum_and_reach_its_ends(
        self, seed: int, steps: int, n: int
    ) -> None:
        m = normal(2, n, n, seed=seed)
        m = m + m.mT
        found = ritz_values(
            lambda v: torch.einsum("bij,bj->bi", m, v), normal(2, n, seed=seed + 1), steps
        )
        exact = torch.linalg.eigvalsh(m)
        assert bool((found.lowest >= exact[:, 0] - 1e-15 * exact.abs().amax(1)).all())
        assert bool((found.highest <= exact[:, -1] + 1e-15 * exact.abs().amax(1)).all())
        assert found.products <= min(steps, n)
        if steps >= n:
            torch.testing.assert_close(found.lowest, exact[:, 0], rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(found.highest, exact[:, -1], rtol=1e-8, atol=1e-8)

    def test_samples_end_by_themselves(self) -> None:
        """A multiple of the identity beside a matrix of many eigenvalues."""
        m = torch.stack([2.0 * torch.eye(6, dtype=torch.float64), torch.arange(6).double().diag()])
        found = ritz_values(lambda v: torch.einsum("bij,bj->bi", m, v), normal(2, 6, seed=0), 6)
        torch.testing.assert_close(found.lowest, torch.tensor([2.0, 0.0]).double())
        torch.testing.assert_close(found.highest, torch.tensor([2.0, 5.0]).double())


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(FIELDS),
    seed=SEEDS,
    amplitude=st.sampled_from([0.0, 0.01, 0.3, 3.0, 100.0]),
)
def test_proved_field_constants_dominate_dense_jacobians(
    name: str, seed: int, amplitude: float
) -> None:
    field = make_field(name, seed)
    x = amplitude * normal(1, *IMAGE, seed=seed + 5)
    found = regularizer_constants(field, x, steps=6, probes=2, seed=seed)
    jacobian = dense_field(field, x)
    size, low = extremes(jacobian)
    if name == "network":
        assert found.lipschitz.above is None
        assert found.modulus.below is None
        return
    assert found.lipschitz.above is not None
    assert found.modulus.below is not None
    assert found.lipschitz.above.proved
    assert found.modulus.below.proved
    assert size <= found.lipschitz.above.value
    assert found.modulus.below.value <= low + solver_rounding(jacobian)
    assert (found.modulus.below.value > 0) == (name in STRONG)


PADDED: dict[str, dict[str, Any]] = {
    "one filter": {"name": "crr", "filters": (3,), "kernel_size": 3},
    "chain": {"name": "wcrr", "filters": (2, 3, 4), "kernel_size": 3},
    "log-cosh": {"name": "tied-conv", "filters": 3, "kernel_size": 3, "activation": "tanh"},
    "relu": {"name": "tied-conv", "filters": 3, "kernel_size": 3, "activation": "relu"},
    "identity": {"name": "tied-conv", "filters": 3, "kernel_size": 3, "activation": "identity"},
    "shrink": {"name": "untied-conv", "filters": 3, "kernel_size": 3, "activation": "soft-shrink"},
    "student-t": {"name": "fields-of-experts", "filters": 3, "kernel_size": 3},
    "spline": {"name": "fields-of-experts", "filters": 3, "kernel_size": 3, "expert": "spline"},
    "smooth-abs": {
        "name": "fields-of-experts", "filters": 3, "kernel_size": 3, "expert": "smooth-abs",
    },
}  # fmt: skip


@pytest.mark.parametrize("padding", ["zero", "circular"])
@pytest.mark.parametrize("case", PADDED)
@settings(max_examples=6, deadline=None)
@given(seed=SEEDS)
def test_every_padding_chain_and_potential(case: str, padding: str, seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        field = build(**PADDED[case], padding=padding).double()
    with torch.no_grad():
        for number, p in enumerate(field.parameters()):
            p.add_(0.5 * normal(*p.shape, seed=seed + number))
    high, low = field.traits().lipschitz, modulus_from_traits(field.traits())
    assert high is not None
    assert low is not None
    for shape, amplitude in (((1, 1, 4, 5), 0.3), ((1, 1, 6, 3), 0.0), ((1, 1, 3, 3), 5.0)):
        jacobian = dense_field(field, amplitude * normal(*shape, seed=seed))
        size, least = extremes(jacobian)
        assert size <= inflate(high.value)
        assert low.value <= least + solver_rounding(jacobian)


@pytest.mark.parametrize("name", FIELDS)
def test_measured_constants_lie_on_their_side(name: str) -> None:
    """The estimates are reached at the images that were tried: the dense Jacobian there agrees."""
    field = make_field(name, 4)
    x = normal(1, *IMAGE, seed=9)
    found = regularizer_constants(field, x, steps=PIXELS, probes=2)
    from equipoise.certify.constants import _points

    dense = [extremes(dense_field(field, point)) for point in _points(x, 0)]
    size, low = max(d[0] for d in dense), min(d[1] for d in dense)
    assert found.lipschitz.below is not None
    assert found.modulus.above is not None
    assert found.lipschitz.below.value == pytest.approx(size, rel=1e-6)
    assert found.modulus.above.value == pytest.approx(low, abs=1e-6 * size)
    assert not found.lipschitz.below.proved
    assert not found.modulus.above.proved


@pytest.mark.parametrize("field", [rotation(0.3, 1.2), scalar(0.7), scalar(-0.2)])
def test_brackets_close_where_constants_are_attained(field: Linear) -> None:
    found = regularizer_constants(field, normal(1, *IMAGE, seed=1))
    for bracket in (found.lipschitz, found.modulus):
        assert bracket.below is not None
        assert bracket.above is not None
        gap = bracket.above.value - bracket.below.value
        assert 0 <= gap <= 0.01 * abs(bracket.above.value)


def test_a_lipschitz_constant_alone_bounds_the_modulus() -> None:
    class Lonely(Linear):
        def _known(self, constants: Constants) -> Traits:
            return Traits(lipschitz=super()._known(constants).lipschitz)

    found = modulus_from_traits(Lonely(rotation(0.3, 1.2).matrix.detach()).traits())
    assert found is not None
    assert found.value == pytest.approx(-((0.3**2 + 1.2**2) ** 0.5), rel=1e-5)
    assert found.proved


class Liar(Linear):
    """Declares other constants than it has."""

    def __init__(self, modulus: float, lipschitz: float) -> None:
        super().__init__(rotation(0.5, 1.0).matrix.detach())
        self.declared = proved(modulus), proved(lipschitz)

    def _known(self, constants: Constants) -> Traits:
        return Traits(modulus=self.declared[0], lipschitz=self.declared[1])


@pytest.mark.parametrize(
    ("modulus", "lipschitz", "word"),
    [(0.6, 2.0, "declares the modulus 0.6"), (0.1, 1.0, "declares the Lipschitz constant 1 ")],
)
def test_traits_that_are_contradicted_are_refused(
    modulus: float, lipschitz: float, word: str
) -> None:
    with pytest.raises(HypothesisError, match=f"{word}.*was measured.*check_regularizer"):
        regularizer_constants(Liar(modulus, lipschitz), normal(1, *IMAGE, seed=1))


def test_crop_keeps_the_cost_down() -> None:
    x = normal(1, 1, 300, 40, seed=0)
    assert central_crop(x[..., :30, :]).shape == (1, 1, 30, 40)
    assert torch.equal(central_crop(x[..., :256, :]), x[..., :256, :])  # few pixels
    wide = normal(1, 1, 200, 180, seed=0)
    assert torch.equal(central_crop(wide), wide[..., 36:164, 26:154])
    cube = central_crop(torch.zeros(1, 1, 60, 60, 60))
    assert cube.shape == (1, 1, 24, 24, 24)
    assert cube[0, 0].numel() <= CROP


class Counted(Residual):
    """Counts images and products of a map."""

    def __init__(self) -> None:
        super().__init__(lambda x: 0.5 * x.roll(1, -1), channels=1)
        self.pixels = 0
        self.products = 0

    def _frozen(self, fold: Fold, constants: Constants) -> Field:
        made = super()._frozen(fold, constants)
        plain = made._linearize

        def counted(product: Any) -> Any:
            def run(v: Tensor) -> Tensor:
                self.products += 1
                return product(v)

            return run

        def linearize(x: Tensor) -> Linearization:
            self.pixels = max(self.pixels, x[0].numel())
            return plain(x).then(counted)

        made._linearize = linearize
        return made


def test_products_are_bounded_whatever_the_image() -> None:
    field = Counted()
    found = regularizer_constants(field, torch.rand(2, 1, 400, 300), steps=5, probes=3)
    assert field.pixels == CROP
    assert field.products <= 3 * 5 * 4 + 3 * 2
    assert found.products <= 60
    assert "128 x 128" in found.where


def test_fields_of_one_size_are_measured_on_the_whole_image() -> None:
    field = build("tied-dense", image_shape=[1, 4, 5], features=6).double()
    found = regularizer_constants(field, normal(1, *IMAGE, seed=0))
    assert "4 x 5" in found.where


def test_regularizer_keeps_its_state() -> None:
    field: Regularizer = make_field("contractive", 1)
    before = copy.deepcopy(field.state_dict())
    regularizer_constants(field, normal(1, *IMAGE, seed=0))
    assert all(torch.equal(before[key], value) for key, value in field.state_dict().items())


def test_make_physics_is_reproducible() -> None:
    first: LinearPhysics = make_physics("tall", 3)
    assert torch.equal(dense_physics(first), dense_physics(make_physics("tall", 3)))
