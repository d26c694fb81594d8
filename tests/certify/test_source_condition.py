"""S_beta, its element, its bracket and its gradient against dense linear algebra."""

from __future__ import annotations

import pytest
import torch
from deepinv.physics import MRI, BlurFFT, Inpainting, LinearPhysics
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import EXACT, IMAGE, PHYSICS, PIXELS, Matrix, dense_physics, make_physics, normal
from torch import Tensor

from equipoise.certify import SourceSolver, least_norm_element, source_element, source_loss
from equipoise.conversion import in_precision
from equipoise.errors import InputError
from equipoise.linear import ConjugateGradients
from equipoise.vectors import dot, norm

TIGHT = ConjugateGradients(tolerance=1e-14, max_products=500)


def dense_value(physics: LinearPhysics, r: Tensor, beta: float) -> Tensor:
    """``beta <r, (A^T A + beta I)^{-1} r>`` of each sample by a singular value decomposition."""
    a = dense_physics(physics, tuple(r.shape[1:]))
    _, s, v = torch.linalg.svd(a, full_matrices=True)
    squared = torch.cat([s.square(), s.new_zeros(len(v) - len(s))])
    return ((r.flatten(1) @ v.mT).square() * beta / (squared + beta)).sum(1)


def single_coil(dtype: torch.dtype = torch.float64) -> LinearPhysics:
    mask = torch.zeros(1, 2, 6, 5)
    mask[..., ::2] = 1.0
    return in_precision(MRI(mask=mask, img_size=(2, 6, 5)), dtype)


@pytest.mark.parametrize("beta", [1e-3, 0.3, 20.0])
@pytest.mark.parametrize("name", PHYSICS)
def test_value_and_element_are_those_of_dense_least_squares(name: str, beta: float) -> None:
    physics, r = make_physics(name), normal(2, *IMAGE, seed=5)
    found = source_element(physics, r, beta, TIGHT)
    a = dense_physics(physics)
    rows = torch.cat([a.mT, beta**0.5 * torch.eye(len(a), dtype=a.dtype)])
    sides = torch.cat([r.flatten(1), r.new_zeros(2, len(a))], 1)
    w = torch.linalg.lstsq(rows, sides.mT).solution.mT
    assert torch.allclose(found.w.flatten(1), w, rtol=0, atol=1e-10 * float(w.norm()))
    assert torch.allclose(found.residual.flatten(1), r.flatten(1) - w @ a, rtol=0, atol=1e-10)
    expected = dense_value(physics, r, beta)
    assert torch.allclose(found.value, expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(source_loss(physics, r, beta, TIGHT), expected, rtol=1e-10, atol=1e-12)
    assert found.exact == (name in EXACT)
    assert torch.equal(found.beta, torch.full((2,), beta, dtype=torch.float64))
    assert torch.allclose(found.w_norm, norm(w)), found.w_norm
    assert torch.allclose(found.residual_norm, norm(found.residual))


def test_mri_and_colour_are_exact_too() -> None:
    r = normal(2, 2, 6, 5, seed=3)
    assert torch.allclose(
        source_element(single_coil(), r, 0.2).value, dense_value(single_coil(), r, 0.2), rtol=1e-10
    )
    colour = in_precision(BlurFFT((3, 5, 6), filter=normal(1, 1, 3, 3, seed=1).abs()), r.dtype)
    r = normal(2, 3, 5, 6, seed=4)
    found = source_element(colour, r, 0.2)
    assert found.exact
    assert torch.allclose(found.value, dense_value(colour, r, 0.2), rtol=1e-10)


def test_complex_measurements_by_conjugate_gradients() -> None:
    """w is complex there; its norm counts both parts."""

    class Fourier(LinearPhysics):
        def A(self, x: Tensor, **kwargs: object) -> Tensor:
            return torch.fft.fft2(x, norm="ortho")[..., ::2]

        def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
            full = y.new_zeros(*y.shape[:-1], 6)
            full[..., ::2] = y
            return torch.fft.ifft2(full, norm="ortho").real

    physics, r, beta = Fourier(), normal(2, 1, 5, 6, seed=2), 0.3
    found = source_element(physics, r, beta, TIGHT)
    basis = torch.eye(30, dtype=torch.float64).view(30, 1, 5, 6)
    a = torch.view_as_real(physics.A(basis).flatten(1)).flatten(1).mT
    gram = a.mT @ a + beta * torch.eye(30, dtype=torch.float64)
    flat = r.flatten(1)
    expected = beta * (flat * torch.linalg.solve(gram, flat.mT).mT).sum(1)
    assert found.w.is_complex()
    assert torch.allclose(found.value, expected, rtol=1e-10)
    assert torch.allclose(source_loss(physics, r, beta, TIGHT), expected, rtol=1e-10)


@given(
    name=st.sampled_from(PHYSICS),
    seed=st.integers(0, 10**6),
    products=st.integers(1, 12),
    exponent=st.floats(-4, 1.5),
)
@settings(max_examples=60, deadline=None)
def test_bracket_holds_the_dense_value(
    name: str, seed: int, products: int, exponent: float
) -> None:
    physics, r, beta = make_physics(name, seed), normal(2, *IMAGE, seed=seed), 10.0**exponent
    loose = ConjugateGradients(tolerance=1e-15, max_products=products)
    found = source_element(physics, r, beta, loose)
    dense = dense_value(physics, r, beta)
    assert bool((found.lower <= dense).all())
    assert bool((dense <= found.upper).all())


def test_bracket_closes() -> None:
    r = normal(2, *IMAGE, seed=5)
    for name in PHYSICS:
        found = source_element(make_physics(name), r, 0.05, TIGHT)
        assert torch.allclose(found.lower, found.upper, rtol=1e-10), name


@pytest.mark.parametrize("name", ["mask", "ill", "wide", "tall"])
def test_gradient_is_that_of_the_exact_value(name: str) -> None:
    physics, beta = make_physics(name), 0.1
    r = normal(2, *IMAGE, seed=6).requires_grad_()
    weights = torch.tensor([1.0, -2.5], dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * source_loss(physics, r, beta, TIGHT)).sum(), r)
    (expected,) = torch.autograd.grad((weights * dense_value(physics, r, beta)).sum(), r)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_gradient_of_an_unfinished_solve_is_within_its_bound() -> None:
    physics, beta = make_physics("wide"), 1e-3
    r = normal(1, *IMAGE, seed=6).requires_grad_()
    (exact,) = torch.autograd.grad(dense_value(physics, r, beta).sum(), r)
    for tolerance in (0.3, 1e-2, 1e-4):
        solver = ConjugateGradients(tolerance=tolerance)
        (found,) = torch.autograd.grad(source_loss(physics, r, beta, solver).sum(), r)
        assert float(norm(found - exact)) <= 2.0 * tolerance * float(norm(r.detach()))
        assert float(norm(found - exact)) > 1e-9  # unfinished indeed


@pytest.mark.parametrize("name", ["mask", "wide"])
def test_beta_for_each_sample_and_batches(name: str) -> None:
    physics, r = make_physics(name), normal(3, *IMAGE, seed=7)
    beta = torch.tensor([0.01, 0.5, 4.0])
    solver = SourceSolver(physics, r[:1], beta, TIGHT)
    together, loss = solver.element(r), solver.loss(r)
    for i in range(3):
        alone = source_element(physics, r[i : i + 1], float(beta[i]), TIGHT)
        assert torch.allclose(together.value[i], alone.value[0], rtol=1e-7)
        assert torch.allclose(loss[i], alone.value[0], rtol=1e-7)
        assert torch.allclose(together.w[i], alone.w[0], rtol=0, atol=1e-6)


def test_a_mask_for_each_sample() -> None:
    masks = (normal(3, *IMAGE, seed=1) > 0).double()
    r = normal(3, *IMAGE, seed=7)
    together = source_element(Inpainting(IMAGE, mask=masks), r, 0.2)
    assert together.exact
    closed = dot((1 - masks) * r, r) + 0.2 / 1.2 * dot(masks * r, r)
    assert torch.allclose(together.value, closed, rtol=1e-12)


@pytest.mark.parametrize("name", PHYSICS)
def test_least_norm_element(name: str) -> None:
    physics, r = make_physics(name), normal(2, *IMAGE, seed=8)
    a = dense_physics(physics)
    found = least_norm_element(physics, r, TIGHT)
    kernel = torch.eye(PIXELS, dtype=a.dtype) - torch.linalg.pinv(a) @ a
    w = r.flatten(1) @ torch.linalg.pinv(a)
    seen = r.flatten(1) @ kernel.mT
    if name in EXACT:
        assert torch.allclose(found.w.flatten(1), w, rtol=1e-9, atol=1e-9)
        assert torch.allclose(found.residual.flatten(1), seen, rtol=0, atol=1e-12)
        assert torch.equal(found.beta, torch.zeros(2, dtype=torch.float64))
        assert bool((found.lower <= norm(seen).square()).all())
        assert bool((found.upper >= norm(seen).square()).all())
    else:
        smallest = 1e-6 * float(torch.linalg.matrix_norm(a, 2)) ** 2
        assert 0.5 * smallest < float(found.beta[0]) < 1.01 * smallest
        assert torch.allclose(found.residual_norm, norm(seen), rtol=1e-2, atol=2e-2)
        assert bool((found.w_norm <= norm(w) * (1 + 1e-9)).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_precision_and_its_allowance(dtype: torch.dtype) -> None:
    r = normal(2, 2, 6, 5, seed=3)
    found = source_element(single_coil(dtype), r.to(dtype), 1e-3)
    exact = dense_value(single_coil(), r.to(dtype).double(), 1e-3)
    assert bool(((found.lower <= exact) & (exact <= found.upper)).all())
    eps = torch.finfo(dtype).eps
    assert bool((found.upper - found.lower <= 200 * eps * norm(r.double()).square()).all())
    assert found.w.dtype is dtype
    assert source_loss(single_coil(dtype), r.to(dtype), 1e-3).dtype is dtype


def test_a_loss_of_zero_has_a_zero_gradient() -> None:
    r = torch.zeros(1, *IMAGE, dtype=torch.float64, requires_grad=True)
    for name in ("mask", "wide"):
        loss = source_loss(make_physics(name), r, 0.1)
        (slope,) = torch.autograd.grad(loss.sum(), r)
        assert float(loss.detach()) == 0.0
        assert not bool(slope.any())


def test_the_zero_operator_explains_nothing() -> None:
    nothing = Matrix(torch.zeros(3, PIXELS, dtype=torch.float64))
    r = normal(1, *IMAGE, seed=1)
    found = least_norm_element(nothing, r)
    assert torch.equal(found.w, torch.zeros_like(found.w))
    assert torch.allclose(found.residual, r)


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf"), torch.ones(1, 2)])
def test_beta_must_be_positive(beta: float | Tensor) -> None:
    with pytest.raises(InputError, match="beta must be a positive number"):
        source_element(make_physics("mask"), normal(1, *IMAGE, seed=0), beta)


def test_bad_images_are_refused() -> None:
    physics, r = make_physics("mask"), normal(2, *IMAGE, seed=0)
    for image in (r.half(), r[0, 0], r[:0]):
        with pytest.raises(InputError, match="Expected images of shape"):
            source_element(physics, image, 0.1)
        with pytest.raises(InputError, match="Expected images of shape"):
            least_norm_element(physics, image)
    solver = SourceSolver(physics, r, 0.1)
    for image in (r.float(), normal(2, 1, 5, 4, seed=0)):
        with pytest.raises(InputError, match="make another SourceSolver"):
            solver.loss(image)
        with pytest.raises(InputError, match="make another SourceSolver"):
            solver.element(image)
    with pytest.raises(InputError, match="2 entries for 3 samples"):
        SourceSolver(physics, r, torch.ones(2)).loss(normal(3, *IMAGE, seed=0))
