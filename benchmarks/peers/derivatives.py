"""Hypergradients as each package computes them, timed, with what it says about them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from deepinv.optim import DEQConfig
from deepinv.optim.linear import minres
from torch import Tensor

from benchmarks import straightforward
from benchmarks.peers import deepinv_models, torchdeq_models
from benchmarks.peers.exact import flattened
from benchmarks.peers.setting import Setting
from benchmarks.reference import energy
from benchmarks.timing import synchronize
from equipoise.differentiate import Adjoint, BackwardRecord, attach_gradient
from equipoise.linear import MINRES
from equipoise.solve import solve
from equipoise.status import LinearSolution

#: Iterations of forward passes of the other packages from the start of the problem.
ITERATIONS, BROYDEN = 300, 100
#: Steps and damping of phantom gradients, as their authors recommend.
PHANTOM: dict[str, Any] = {"grad": 5, "tau": 0.5}
#: Iterations of torchdeq's implicit backward pass where its default is not used.
BACKWARD = 50

NOTHING = "nothing"


@dataclass(frozen=True)
class Derivative:
    """A hypergradient and how it came about.

    Args:
        x: the solution that it was computed at.
        q: the approximate solution of the adjoint equation.
        residual: ``||J q - g|| / ||g||`` at x with the float32 Jacobian that the method used.
        gradient: by all parameters of R, one after the other.
        forward_s: seconds of the forward pass.
        backward_s: seconds of the backward pass.
        products: products with the Jacobian, or reverse passes through the field.
        words: what the package said about its accuracy.
    """

    x: Tensor
    q: Tensor
    residual: float
    gradient: Tensor
    forward_s: float
    backward_s: float
    products: int
    words: str


@dataclass(frozen=True)
class Differentiation:
    """A way to compute a hypergradient.

    Args:
        label: of its row.
        run: from a setting, at the solution that is given or, for None, at one of its own.
    """

    label: str
    run: Callable[[Setting, Tensor | None], Derivative]


def own(
    label: str, adjoint: Callable[[Setting], Adjoint | None], tolerance: float
) -> Differentiation:
    """equipoise: the default solver to a tolerance, then an adjoint (None: the default one)."""

    def run(given: Setting, solution: Tensor | None) -> Derivative:
        instance = given.instance
        clock = _Clock()
        words: list[str] = []
        equation = instance.equation()
        if solution is None:
            found = solve(equation, given.start, tolerance=tolerance)
            x = found.x
            if not found.all_converged:
                words.append(f"forward {found.statuses[0].name}")
        else:
            x = solution
        forward_s = clock.lap()
        record = BackwardRecord()
        attached = attach_gradient(equation, x, adjoint(given), on_failure="ignore", record=record)
        _loss(attached, instance.truth).backward()
        backward_s = clock.lap()
        assert record.last is not None
        if not record.last.all_converged:
            words.append(f"backward {record.last.statuses[0].name}")
        return Derivative(
            x,
            record.last.x,
            _residual(given, x, record.last.x),
            _gradients(given),
            forward_s,
            backward_s,
            int(record.last.evaluations.max()),
            ", ".join(words) or "converged",
        )

    return Differentiation(label, _clean(run))


def minres_twice(
    given: Setting, x: Tensor, g: Tensor, tolerance: float, *, kept: bool
) -> LinearSolution:
    """``J q = g`` by our MINRES, whose residuals are true ones, with double back-propagation.

    Args:
        given: the instance.
        x: where the Jacobian is taken.
        g: the right-hand side.
        tolerance: true residual that is asked for.
        kept: whether the graph of the gradient is built once and kept, or anew for each product.
    """
    product = Twice(given, x) if kept else rebuilt(given, x)
    return MINRES(tolerance=tolerance, max_products=1000).solve(product, g)


def rebuilt(given: Setting, x: Tensor) -> Callable[[Tensor], Tensor]:
    """``v -> J v`` as training code of comparative studies has it: gradient, then its derivative.

    The gradient is the straightforward one, written out, its constants folded once.
    """
    instance = given.instance
    field, physics = straightforward.of_regularizer(instance.regularizer), instance.problem.physics

    def product(v: Tensor) -> Tensor:
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            slope = physics.A_adjoint(physics.A(point) - instance.y)
            slope = slope + instance.alpha * field.gradient(point)
            return torch.autograd.grad((slope * v).sum(), point)[0]

    return product


def double_backprop(label: str, tolerance: float, deepinv: bool) -> Differentiation:
    """MINRES with Hessian products by differentiating the formula's gradient once more.

    Args:
        label: of the row.
        tolerance: that is asked for.
        deepinv: whether MINRES is deepinv's or ours (whose residuals are true ones).
    """

    def run(given: Setting, solution: Tensor | None) -> Derivative:
        assert solution is not None
        clock = _Clock()
        product = Twice(given, solution)
        g = solution - given.instance.truth
        if deepinv:
            q, words = minres(product, g, max_iter=1000, tol=tolerance), NOTHING
        else:
            solved = MINRES(tolerance=tolerance, max_products=1000).solve(product, g)
            q, words = solved.x, solved.statuses[0].name.lower()
        gradient, products = product.by_parameters(q), product.count
        seconds = clock.lap()
        residual = float((Twice(given, solution)(q) - g).norm() / g.norm())
        return Derivative(solution, q, residual, gradient, 0.0, seconds, products, words)

    return Differentiation(label, _clean(run))


class Twice:
    """``v -> J v`` by double back-propagation through the formula; the graph is built once."""

    def __init__(self, given: Setting, x: Tensor) -> None:
        self.parameters = list(given.instance.regularizer.parameters())
        self.point = x.detach().requires_grad_()
        self.count = 0
        with torch.enable_grad():
            value = energy(given.instance, self.point)
            (self.slope,) = torch.autograd.grad(value, self.point, create_graph=True)

    def __call__(self, v: Tensor) -> Tensor:
        """The product."""
        self.count += 1
        return torch.autograd.grad(self.slope, self.point, v, retain_graph=True)[0]

    def by_parameters(self, q: Tensor) -> Tensor:
        """``-(dE/dw)^T q``."""
        return -flattened(list(torch.autograd.grad(self.slope, self.parameters, q)))


def deepinv_equilibrium(
    label: str, forward_anderson: bool, backward: DEQConfig | None
) -> Differentiation:
    """deepinv's equilibrium model."""

    def run(given: Setting, solution: Tensor | None) -> Derivative:
        instance, prior = given.instance, given.prior
        iterations = 1 if solution is not None else ITERATIONS
        start = given.start if solution is None else solution
        anderson = forward_anderson and solution is None
        model = deepinv_models.equilibrium_model(given, iterations, anderson, backward)
        clock = _Clock()
        with _listening() as heard:
            x = model(instance.y, instance.problem.physics, init=(start, start.clone()))
            kept: list[Tensor] = []
            x.register_hook(kept.append)
            forward_s = clock.lap()
            _loss(x, instance.truth).backward()
            backward_s = clock.lap()
        q = kept[-1] / given.bound
        return _found(given, x, q, (forward_s, backward_s), prior.reverse_passes, _words(heard))

    return Differentiation(label, _clean(run))


def _found(
    given: Setting, x: Tensor, q: Tensor, seconds: tuple[float, float], passes: int, words: str
) -> Derivative:
    """What a package's backward pass left behind."""
    point = x.detach()
    return Derivative(
        point, q, _residual(given, point, q), _gradients(given), *seconds, passes, words
    )


def torchdeq_layer(
    label: str, solver: torchdeq_models.Solver, iterations: int, **backward: Any
) -> Differentiation:
    """torchdeq's layer with an implicit or a phantom gradient."""

    def run(given: Setting, solution: Tensor | None) -> Derivative:
        forward: dict[str, Any] = {"f_solver": solver, "f_max_iter": iterations, "f_tol": 0.0}
        if solution is not None:
            forward = {"f_solver": "fixed_point_iter", "f_max_iter": 1}
        layer = torchdeq_models.layer(**forward, **backward).train()
        tape = _Tape(given)
        clock = _Clock()
        with _listening() as heard:
            outputs, _ = layer(tape, given.start if solution is None else solution)
            tape.recording = False
            x = outputs[-1]
            forward_s = clock.lap()
            _loss(x, given.instance.truth).backward()
            backward_s = clock.lap()
        q = (sum(tape.received, torch.zeros_like(x)) / given.bound).detach()
        passes = given.prior.reverse_passes
        return _found(given, x, q, (forward_s, backward_s), passes, _words(heard))

    return Differentiation(label, _clean(run))


class _Tape:
    """The map of the layer; remembers what the backward pass hands to its outputs."""

    def __init__(self, given: Setting) -> None:
        self.given, self.recording = given, True
        self.received: list[Tensor] = []

    def __call__(self, z: Tensor) -> Tensor:
        out = self.given.step(z)
        if self.recording and out.requires_grad:
            out.register_hook(self.received.append)
        return out


def peers() -> list[Differentiation]:
    """Hypergradients of the other packages that can be run here."""
    deepinv = [
        deepinv_equilibrium("deepinv equilibrium", False, None),
        deepinv_equilibrium(
            "deepinv equilibrium, Anderson", True, deepinv_models.anderson_backward()
        ),
        deepinv_equilibrium(
            "deepinv equilibrium, Jacobian-free", True, DEQConfig(jacobian_free=True)
        ),
    ]
    if not torchdeq_models.available():
        return deepinv
    anderson = partial(torchdeq_layer, solver="anderson", iterations=ITERATIONS)
    broyden = partial(torchdeq_layer, solver="broyden", iterations=BROYDEN)
    return [
        *deepinv,
        anderson("torchdeq Anderson, implicit", ift=True),
        broyden("torchdeq Broyden, implicit", ift=True),
        broyden(
            "torchdeq Broyden, implicit by Broyden",
            ift=True,
            b_solver="broyden",
            b_max_iter=BACKWARD,
        ),
        broyden("torchdeq Broyden, phantom", **PHANTOM),
    ]


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        synchronize()
        self._mark = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        synchronize()
        now = time.perf_counter()
        seconds, self._mark = now - self._mark, now
        return seconds


def _clean(
    run: Callable[[Setting, Tensor | None], Derivative],
) -> Callable[[Setting, Tensor | None], Derivative]:
    """Begin without gradients and counts of earlier runs."""

    def fresh(given: Setting, solution: Tensor | None) -> Derivative:
        given.instance.regularizer.zero_grad(set_to_none=True)
        given.prior.reverse_passes = 0
        return run(given, solution)

    return fresh


def _loss(x: Tensor, truth: Tensor) -> Tensor:
    return 0.5 * (x - truth).square().sum()


def _residual(given: Setting, x: Tensor, q: Tensor) -> float:
    g = x - given.instance.truth
    product = given.instance.equation().linearize(x).vjp
    return float((product(q) - g).norm() / g.norm())


def _gradients(given: Setting) -> Tensor:
    found = [each.grad for each in given.instance.regularizer.parameters()]
    return flattened([each for each in found if each is not None])


@contextmanager
def _listening() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield heard


def _words(heard: list[warnings.WarningMessage]) -> str:
    return "; ".join(dict.fromkeys(str(each.message) for each in heard)) or NOTHING
