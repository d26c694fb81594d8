"""Small physics of every kind, small fields, and dense references for equations made of them."""

from __future__ import annotations

import torch
from deepinv.physics import (
    MRI,
    Blur,
    BlurFFT,
    DecomposablePhysics,
    Denoising,
    Downsampling,
    Inpainting,
    LinearPhysics,
    Tomography,
)
from torch import Tensor

from equipoise.conversion import in_precision
from equipoise.equation import Equation
from equipoise.regularizers import Regularizer, build

PHYSICS = ("denoise", "inpaint", "circular", "valid", "tomography", "mri", "downsample", "mixing")
#: Those that deepinv declares to be decomposable.
DECOMPOSABLE = ("denoise", "inpaint", "circular", "mri")


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def kernel(size: int = 3, seed: int = 7) -> Tensor:
    """An asymmetric blur kernel of sum 1; no frequency is damped by more than a factor of 4."""
    values = 0.2 + normal(1, 1, size, size, seed=seed).abs()
    values[..., size // 2, size // 2] += 2 * values.sum()
    return values / values.sum()


class Mixing(LinearPhysics):
    """A fixed random matrix between images and measurements of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", 0.2 * normal(12, 30, seed=9))

    def A(self, x: Tensor, **kwargs: object) -> Tensor:
        return x.flatten(1) @ self.matrix.mT

    def A_adjoint(self, y: Tensor, **kwargs: object) -> Tensor:
        return (y @ self.matrix).unflatten(1, (1, 5, 6))


def image_shape(name: str) -> tuple[int, ...]:
    """(C, H, W) of the images that :func:`physics` takes."""
    return {"tomography": (1, 8, 8), "mri": (2, 6, 6), "downsample": (1, 6, 6)}.get(name, (1, 5, 6))


def physics(name: str) -> LinearPhysics:
    """A physics of that name in float64."""
    shape = image_shape(name)
    if name == "denoise":
        made: LinearPhysics = Denoising()
    elif name == "inpaint":
        made = Inpainting(shape, mask=(normal(*shape, seed=3) > -0.3).double())
    elif name == "circular":
        made = BlurFFT(shape, filter=kernel())
    elif name == "valid":
        made = Blur(filter=kernel(), padding="valid")
    elif name == "tomography":
        made = Tomography(
            angles=5, img_width=8, normalize=False, adjoint_via_backprop=True, dtype=torch.float64
        )
    elif name == "mri":
        mask = torch.zeros(1, *shape)
        mask[..., ::2] = 1.0
        made = MRI(mask=mask, img_size=shape)
    elif name == "downsample":
        made = Downsampling(img_size=shape, filter="bilinear", factor=2)
    else:
        made = Mixing()
    return in_precision(made, torch.float64)


def skewed(made_of_frames: bool = False) -> DecomposablePhysics:
    """A "decomposable" physics whose V is no isometry, or one of a redundant frame."""
    if made_of_frames:  # V* repeats the image, so V V* = I, but V S V* mixes both halves of S

        def twice(x: Tensor) -> Tensor:
            return torch.cat([x, x.flip(-1)], 1) / 2**0.5

        def back(z: Tensor) -> Tensor:
            return (z[:, :1] + z[:, 1:].flip(-1)) / 2**0.5

        mask = 0.5 + normal(1, 2, 5, 6, seed=12).abs()
        return DecomposablePhysics(V_adjoint=twice, V=back, mask=mask)
    mask = 0.5 + normal(1, 1, 5, 6, seed=12).abs()
    return DecomposablePhysics(V_adjoint=lambda x: 3.0 * x, V=lambda z: 3.0 * z, mask=mask)


def field(name: str) -> Regularizer:
    """A field of that name in float64, its parameters moved from where they start."""
    options = {
        "tied-conv": {"filters": 3, "kernel_size": 3, "scale": 1.5},
        "untied-conv": {"filters": 3, "kernel_size": 3, "scale": 1.5},
        "contractive": {"width": 3, "depth": 2, "kernel_size": 3, "contraction": 0.8},
        "crr": {"filters": (2, 3), "kernel_size": 3},
        "wcrr": {"filters": (2, 3), "kernel_size": 3},
        "fields-of-experts": {"filters": 3, "kernel_size": 3, "scale": 1.5},
        "tikhonov": {"operator": "gradient"},
    }[name]
    torch.manual_seed(0)
    made = build(name, **options).double()
    with torch.no_grad():
        for seed, parameter in enumerate(made.parameters()):
            parameter.add_(0.3 * normal(*parameter.shape, seed=40 + seed))
    return made


def measure(made: LinearPhysics, shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """Measurements of a random image with noise."""
    with torch.no_grad():
        clean = made.A(normal(*shape, seed=seed))
    return clean + 0.1 * normal(*clean.shape, seed=seed + 100)


def dense(equation: Equation, x: Tensor) -> Tensor:
    """J of a single sample by automatic differentiation of the residual, (n, n)."""

    def residual(flat: Tensor) -> Tensor:
        return equation.differentiable_residual(flat.view_as(x)).flatten()

    return torch.autograd.functional.jacobian(residual, x.flatten(), vectorize=True).detach()


def newton(equation: Equation, x: Tensor) -> Tensor:
    """The equilibrium of a single sample by a damped Newton method with a dense Jacobian."""
    for _ in range(80):
        residual = equation.residual(x)
        if residual.norm() < 1e-12:
            return x
        step = torch.linalg.solve(dense(equation, x), residual.flatten()).view_as(x)
        size = 1.0
        while size > 1e-6 and not (equation.residual(x - size * step).norm() < residual.norm()):
            size /= 2
        x = x - size * step
    raise AssertionError(f"Newton's method failed: {float(equation.residual(x).norm())}")
