"""Reference solutions in float64, by another solver and from the formula as it is written.

SciPy's L-BFGS-B minimises ``||A x - y||^2 / 2 + alpha r(x)`` with r written out in
:func:`ridge_potential` and differentiated by autograd: no kernel, solver or preconditioner of
equipoise takes part. It starts where every method starts, and it stops by the norm of its own
gradient. A first stretch is evaluated in float32 and only brings the start nearer.

References are kept under ``results/bench/references`` since one takes up to minutes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor

from benchmarks.instances import Instance
from benchmarks.machine import ROOT
from equipoise.errors import ConvergenceError, UsageError
from equipoise.regularizers import RidgeRegularizer

CACHE = ROOT / "results" / "bench" / "references"
#: Gradient norm, relative to the norm of the image, at which the float32 stretch ends.
ROUGH = 5e-5
#: Correction pairs and evaluations that L-BFGS-B may use.
PAIRS, EVALUATIONS = 30, 4000
#: Changes of this module that change what is kept.
EDITION = 1

Vector = npt.NDArray[np.float64]
#: Value and gradient of the energy at a point.
Energy = Callable[[Tensor], tuple[float, Tensor]]


@dataclass(frozen=True)
class Reference:
    """A solution to measure errors against.

    Args:
        x: the solution, float64, shape (1, 1, H, W), on the CPU.
        residual: ``||E(x)|| / ||x||``.
        modulus: strong convexity of the energy that is proved, 0 where none is.
        evaluations: of the formula.
        seconds: that it took when it was computed.
    """

    x: Tensor
    residual: float
    modulus: float
    evaluations: int
    seconds: float

    @property
    def error_bound(self) -> float | None:
        """Proved bound on the relative distance to the minimiser; None without convexity.

        ``||x - x*|| <= ||E(x)|| / m``.
        """
        return self.residual / self.modulus if self.modulus > 0 else None

    def error(self, x: Tensor) -> Tensor:
        """Relative distance of each image to the reference, shape (B,), in float64."""
        exact = self.x.flatten(1)
        return (x.detach().to(exact).flatten(1) - exact).norm(dim=1) / exact.norm(dim=1)


def reference(
    instance: Instance,
    tolerance: float,
    *,
    start: Tensor | None = None,
    folder: Path = CACHE,
) -> Reference:
    """Solve an instance of one image, or read what was solved before.

    Args:
        instance: with a ridge regulariser; only its numbers are used.
        tolerance: on ``||E(x)|| / ||x||``.
        start: where to start; None is the instance's own start.
        folder: where solutions are kept.

    Raises:
        UsageError: if the instance has several images or another regulariser.
        ConvergenceError: if the tolerance is not met.
    """
    if not isinstance(instance.regularizer, RidgeRegularizer) or len(instance.y) != 1:
        raise UsageError("References are for one image and a ridge regulariser.")
    first = instance.start() if start is None else start
    path = folder / f"{key(instance, tolerance, first)}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = _solve(instance, tolerance, first)
        partial = path.with_suffix(".partial.npz")
        np.savez(
            partial,
            x=found.x.numpy(),
            numbers=[found.residual, found.modulus, found.evaluations, found.seconds],
        )
        partial.replace(path)
    with np.load(path) as file:
        residual, modulus, evaluations, seconds = file["numbers"].tolist()
        return Reference(torch.from_numpy(file["x"]), residual, modulus, int(evaluations), seconds)


def ridge_potential(x: Tensor, regularizer: RidgeRegularizer) -> Tensor:
    """The potential as its definition reads, differentiable by x and by the parameters.

    Formula: ``r(x) = sum_k sum_p a_k [h(b_k z_k) / b_k - c h(z_k)]``, ``z_k = s_k (K x)_k``,
    ``a_k = s_k^-2``, with the Huber function h and zero-padded convolutions K.

    Returns:
        The sum over all samples, 0-d.
    """
    profile = regularizer.profile
    scale, slope = (log.exp().reshape(-1, 1, 1) for log in (profile.log_scale, profile.log_slope))
    z = x
    for layer in regularizer.operator.layers:
        z = F.conv2d(z, layer, padding=layer.shape[-1] // 2)
    z = scale * z
    ridges = huber(slope * z) / slope
    if profile.weak_convexity:
        ridges = ridges - profile.weak_convexity * huber(z)
    return (ridges / scale.square()).sum()


def huber(t: Tensor) -> Tensor:
    """``t^2 / 2`` within [-1, 1] and ``|t| - 1/2`` beyond."""
    return torch.where(t.abs() <= 1.0, 0.5 * t.square(), t.abs() - 0.5)


def energy(instance: Instance, x: Tensor) -> Tensor:
    """``||A x - y||^2 / 2 + alpha r(x)``, summed over the samples, from the formula."""
    assert isinstance(instance.regularizer, RidgeRegularizer)
    misfit = instance.problem.physics.A(x) - instance.y
    return 0.5 * misfit.square().sum() + instance.alpha * ridge_potential(x, instance.regularizer)


def _solve(instance: Instance, tolerance: float, start: Tensor) -> Reference:
    began = time.perf_counter()
    spent, x = 0, start.detach()
    for dtype, goal in ((torch.float32, max(ROUGH, tolerance)), (torch.float64, tolerance)):
        x, residual, count = _minimise(_energy(instance.to(dtype)), x.to(dtype), goal)
        spent += count
    if not residual <= tolerance:
        raise ConvergenceError(
            f"The reference of {instance.name} stopped at a residual of {residual:.1e}, asked for "
            f"{tolerance:.1e}: loosen the tolerance."
        )
    return Reference(x.cpu(), residual, _modulus(instance), spent, time.perf_counter() - began)


def _modulus(instance: Instance) -> float:
    """1 - alpha c for denoising: A is the identity and r is c-weakly convex. Nothing otherwise."""
    assert isinstance(instance.regularizer, RidgeRegularizer)
    if instance.problem.name != "denoise":
        return 0.0
    weak = instance.regularizer.profile.weak_convexity
    return max(0.0, 1.0 - instance.alpha * weak)


def _energy(instance: Instance) -> Energy:
    for parameter in instance.regularizer.parameters():
        parameter.requires_grad_(False)

    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            value = energy(instance, point)
            (slope,) = torch.autograd.grad(value, point)
        return float(value.detach()), slope

    return evaluate


class _Enough(Exception):  # noqa: N818  (no error: the goal is met)
    pass


def _minimise(evaluate: Energy, x: Tensor, goal: float) -> tuple[Tensor, float, int]:
    """Run L-BFGS-B to the goal; the point with the smallest gradient, that, and evaluations."""
    best, least, spent = x, float("inf"), 0

    def fun(flat: Vector) -> tuple[float, Vector]:
        nonlocal best, least, spent
        point = torch.from_numpy(flat).to(x).reshape(x.shape)
        value, slope = evaluate(point)
        spent += 1
        size = float(slope.double().norm() / point.double().norm())
        if size < least:
            best, least = point.clone(), size
        if size <= goal:
            raise _Enough
        return value, slope.double().cpu().numpy().ravel()

    options = {"maxcor": PAIRS, "maxiter": EVALUATIONS, "maxfun": EVALUATIONS}
    exact = {"ftol": 0.0, "gtol": 0.0}
    try:
        flat = x.double().cpu().numpy().ravel()
        minimize(fun, flat, jac=True, method="L-BFGS-B", options={**options, **exact})
    except _Enough:
        pass
    return best, least, spent


def key(instance: Instance, tolerance: float, start: Tensor) -> str:
    """Everything that the answer depends on, in few letters.

    Images and weights count bit by bit; measurements, whose last bits depend on the number of
    threads, by a few rounded projections.
    """
    assert isinstance(instance.regularizer, RidgeRegularizer)
    digest = hashlib.sha256()
    weak = instance.regularizer.profile.weak_convexity
    probe = torch.linspace(0.0, 1.0, start.numel()).reshape(start.shape).to(start)
    rounded = [
        f"{value:.4g}"
        for tensor in (instance.y, start, instance.problem.physics.A(probe))
        for value in _projections(tensor)
    ]
    settings = (EDITION, instance.problem.description, instance.alpha, tolerance, weak)
    digest.update(repr((*settings, *rounded)).encode())
    for tensor in (instance.truth, *instance.regularizer.state_dict().values()):
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def _projections(tensor: Tensor) -> list[float]:
    flat = tensor.detach().double().cpu().flatten()
    place = torch.arange(len(flat), dtype=torch.float64)
    waves = [torch.sin(frequency * place + 1.0) + 1.5 for frequency in (0.0, 0.07, 0.9, 2.3)]
    return [float(flat.abs() @ wave) for wave in waves]
