"""Small random equations in float64 of every kind, with dense references and exact equilibria."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from deepinv.physics import BlurFFT, Denoising, Inpainting, LinearPhysics
from torch import Tensor

from equipoise.bounds import estimated, proved
from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.fields import Traits
from equipoise.regularizers import Residual, Tikhonov, build
from equipoise.regularizers.base import Constants, Regularizer

#: (C, H, W) of all images here.
IMAGE = (1, 4, 5)
PIXELS = 20

#: ``blur`` has all singular values above 0.2; those of ``ill`` fall to about 1e-3; ``tall`` has
#: more measurements than unknowns, ``wide`` fewer, ``deficient`` as many but a kernel.
PHYSICS = ("denoise", "mask", "blur", "ill", "tall", "wide", "deficient")
#: Physics whose constants are known exactly.
EXACT = ("denoise", "mask", "blur", "ill")
#: Physics with a trivial kernel.
INJECTIVE = ("denoise", "blur", "ill", "tall")

#: Fields that are monotone for all parameters.
MONOTONE = ("tikhonov", "differences", "crr", "tied", "tv", "contractive", "rotation", "skew")
#: Fields with a proved positive modulus.
STRONG = ("tikhonov", "contractive", "rotation")
FIELDS = (*MONOTONE, "wcrr", "untied", "network")
#: Fields that are gradients.
GRADIENTS = ("tikhonov", "differences", "crr", "tied", "tv", "wcrr")


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(low: float, high: float, seed: int) -> float:
    """A number between two others, determined by the seed."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


class Matrix(LinearPhysics):
    """A given matrix (p, n) between images of a shape and measurement vectors."""

    def __init__(self, matrix: Tensor, shape: tuple[int, ...] = IMAGE) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.shape = shape

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x.flatten(1) @ self.matrix.mT

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return (y @ self.matrix).unflatten(1, self.shape)


class Linear(Regularizer):
    """``R(x) = M x + c`` with its exact constants; a gradient iff M is symmetric.

    Args:
        matrix: M, shape (n, n).
        offset: c, shape (n,), or None.
        declare: whether it tells its constants.
    """

    def __init__(self, matrix: Tensor, offset: Tensor | None = None, declare: bool = True) -> None:
        self.gradient_field = bool(torch.equal(matrix, matrix.T))
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix)
        self.offset = matrix.new_zeros(len(matrix)) if offset is None else offset
        self.declare = declare

    def _field(self, x: Tensor, constants: Constants) -> Tensor:
        return (x.flatten(1) @ self.matrix.T + self.offset).view_as(x)

    def _potential(self, x: Tensor, constants: Constants) -> Tensor:
        flat = x.flatten(1)
        return (0.5 * flat * (flat @ self.matrix.T) + flat * self.offset).sum(1)

    def _known(self, constants: Constants) -> Traits:
        m = self.matrix.detach()
        if not self.declare:
            return Traits()
        low = float(torch.linalg.eigvalsh(0.5 * (m + m.T))[0])
        return Traits(modulus=proved(low), lipschitz=proved(float(torch.linalg.matrix_norm(m, 2))))


class Sampled(Linear):
    """Its constants are estimated only."""

    def _known(self, constants: Constants) -> Traits:
        one = estimated(1.0, "sampled")
        return Traits(modulus=one, lipschitz=one)


def rotation(mu: float, turn: float, n: int = PIXELS) -> Linear:
    """``mu x + turn K x`` with K a rotation by a right angle in pairs of coordinates (n even).

    Every step of the constants for fields that are no gradients is attained:
    ``L^2 = mu^2 + turn^2`` and ``||x - t R(x)||^2 = (1 - 2 t mu + t^2 L^2) ||x||^2``.
    """
    block = torch.tensor([[mu, -turn], [turn, mu]], dtype=torch.float64)
    return Linear(torch.block_diag(*[block] * (n // 2)))


def scalar(value: float, n: int = PIXELS) -> Linear:
    """``R(x) = value x``; ``value`` may be negative."""
    return Linear(value * torch.eye(n, dtype=torch.float64))


def make_physics(name: str, seed: int = 0) -> LinearPhysics:
    """A random physics of that name in float64."""
    if name == "denoise":
        return in_precision(Denoising(), torch.float64)
    if name == "mask":
        mask = (normal(*IMAGE, seed=seed + 11) > -0.3).double()
        mask[0, 0, 0], mask[0, -1, -1] = 1.0, 0.0
        return in_precision(Inpainting(IMAGE, mask=mask), torch.float64)
    if name in ("blur", "ill"):
        kernel = 0.2 + normal(1, 1, 3, 3, seed=seed + 12).abs()
        if name == "blur":
            kernel[..., 1, 1] += 2.0 * kernel.sum()
        else:  # [1, 2, 1] vanishes at the highest frequency of the even axis
            hat = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
            kernel = 2e-3 * kernel + torch.outer(hat, hat)
        return in_precision(BlurFFT(IMAGE, filter=kernel / kernel.sum()), torch.float64)
    rows = {"tall": 27, "wide": 12, "deficient": PIXELS}[name]
    matrix = normal(rows, PIXELS, seed=seed + 13) / PIXELS**0.5
    if name == "deficient":
        matrix = matrix @ torch.diag((torch.arange(PIXELS) < PIXELS - 3).double())
        matrix = matrix @ torch.linalg.qr(normal(PIXELS, PIXELS, seed=seed + 14))[0]
    return Matrix(matrix)


def make_field(name: str, seed: int = 0) -> Regularizer:
    """A random field of that name in float64."""
    if name == "tikhonov":
        return Tikhonov()
    if name == "differences":
        return Tikhonov("gradient")
    if name == "rotation":
        return rotation(uniform(0.1, 2.0, seed), uniform(0.0, 3.0, seed + 1))
    if name == "skew":  # monotone with modulus 0, far from a gradient
        m = normal(PIXELS, PIXELS, seed=seed) / PIXELS**0.5
        return Linear(m - m.T, normal(PIXELS, seed=seed + 1))
    if name == "tv":
        return build("tv", epsilon=uniform(0.1, 0.5, seed))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name == "network":
            network = torch.nn.Sequential(
                torch.nn.Conv2d(1, 3, 3, padding=1),
                torch.nn.Tanh(),
                torch.nn.Conv2d(3, 1, 3, padding=1),
            )
            return Residual(network.double())
        made = {
            "crr": lambda: build("crr", filters=(2, 3), kernel_size=3),
            "wcrr": lambda: build("wcrr", filters=(2, 3), kernel_size=3),
            "tied": lambda: build("tied-conv", filters=3, kernel_size=3, scale=1.5),
            "untied": lambda: build("untied-conv", filters=3, kernel_size=3, scale=1.5),
            "contractive": lambda: build(
                "contractive", width=3, depth=2, kernel_size=3, contraction=0.8
            ),
        }[name]().double()
    with torch.no_grad():
        for number, (key, p) in enumerate(sorted(made.named_parameters())):
            p.add_(0.3 * normal(*p.shape, seed=seed + 40 + number))
            if key == "log_sharpness":
                p.sub_(2.5)  # bend within the range of these images
            if key == "profile.log_scale":
                p.sub_(2.5)
    return made


@dataclass(frozen=True)
class Instance:
    """A random equation; everything follows from the names, the seed and alpha.

    Args:
        physics_name: one of :data:`PHYSICS`.
        field_name: one of :data:`FIELDS`.
        seed: any non-negative integer.
        alpha: regularisation strength.
    """

    physics_name: str
    field_name: str
    seed: int = 0
    alpha: float = 0.5

    @cached_property
    def physics(self) -> LinearPhysics:
        return make_physics(self.physics_name, self.seed)

    @cached_property
    def regularizer(self) -> Regularizer:
        return make_field(self.field_name, self.seed)

    @cached_property
    def truth(self) -> Tensor:
        """A random image, shape (1, C, H, W)."""
        return normal(1, *IMAGE, seed=self.seed + 1)

    @cached_property
    def clean(self) -> Tensor:
        """``A truth``."""
        return self.physics.A(self.truth)

    @cached_property
    def y(self) -> Tensor:
        """Noisy measurements."""
        return self.clean + 0.1 * normal(*self.clean.shape, seed=self.seed + 2)

    @cached_property
    def equation(self) -> Equation:
        return Equation(self.physics, self.y, self.regularizer, self.alpha)

    def with_data(self, y: Tensor) -> Equation:
        """The equation for other measurements."""
        return Equation(self.physics, y, self.regularizer, self.alpha)

    def with_alpha(self, alpha: float) -> Equation:
        """The equation for another strength."""
        return Equation(self.physics, self.y, self.regularizer, alpha)

    @cached_property
    def A(self) -> Tensor:
        """The matrix of the physics, (p, n)."""
        return dense_physics(self.physics)


def dense_physics(physics: LinearPhysics, shape: tuple[int, ...] = IMAGE) -> Tensor:
    """The matrix (p, n) of a physics that acts on images of a shape."""
    n = torch.Size(shape).numel()
    basis = torch.eye(n, dtype=torch.float64).view(n, 1, *shape)
    return torch.stack([physics.A(e).flatten() for e in basis], dim=1)


def dense_field(regularizer: Regularizer, x: Tensor) -> Tensor:
    """The Jacobian (n, n) of a field at one image (1, C, H, W), by automatic differentiation."""

    def flat(v: Tensor) -> Tensor:
        return regularizer.field(v.view_as(x)).flatten()

    return torch.autograd.functional.jacobian(flat, x.flatten(), vectorize=True).detach()


def dense_equation(equation: Equation, x: Tensor) -> Tensor:
    """The Jacobian (n, n) of E at one image."""
    a = dense_physics(equation.physics, tuple(x.shape[1:]))
    weight = equation.data.weight
    return weight * a.mT @ a + float(equation.alpha) * dense_field(equation.regularizer, x)


def equilibrium(equation: Equation, x: Tensor | None = None, tolerance: float = 1e-13) -> Tensor:
    """An equilibrium of one sample: damped Newton steps mixed with resolvent steps.

    Raises:
        AssertionError: if the residual does not fall to ``tolerance`` of its scale.
    """
    x = torch.zeros_like(equation.adjoint_data) if x is None else x
    gram = equation.data.weight * (lambda a: a.mT @ a)(dense_physics(equation.physics))
    one = torch.eye(len(gram), dtype=gram.dtype)
    alpha = float(equation.alpha)
    reach = 1.0 + float(torch.linalg.matrix_norm(dense_field(equation.regularizer, x), 2))
    goal = tolerance * (1.0 + float(equation.scale))

    def size(z: Tensor) -> float:
        return float(equation.residual(z).norm())

    best = x
    for c in (alpha * reach, 5 * alpha * reach, 50 * alpha * reach):
        step = torch.linalg.inv(gram + c * one)
        for _ in range(20):
            for _ in range(20):
                e = equation.residual(x)
                damping = 1e-13 + 1e-3 * min(1.0, float(e.norm()))  # the Jacobian may be singular
                jacobian = gram + alpha * dense_field(equation.regularizer, x) + damping * one
                d = torch.linalg.lstsq(jacobian, e.flatten()).solution.view_as(x)
                t = 1.0
                while t > 1e-3 and not size(x - t * d) < (1.0 - 0.1 * t) * float(e.norm()):
                    t *= 0.5
                if t <= 1e-3:
                    break
                x = x - t * d
            best = x if size(x) < size(best) else best
            if size(best) <= goal:
                return best
            for _ in range(50):
                x = x - (step @ equation.residual(x).flatten()).view_as(x)
    if size(best) <= 100 * goal:
        return best
    raise AssertionError(f"no equilibrium found: residual {size(best):.3g}, goal {goal:.3g}")
