"""All methods of the forward table, ours and the other packages', behind one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.peers import deepinv_models, torchdeq_models
from benchmarks.peers.setting import Setting
from benchmarks.peers.watch import Trajectory, Watch, WatchedEquation, trajectory
from equipoise.solve import LBFGS, NonmonotoneAcceleratedGradient, Solver, solve

#: The watch ends our solvers, never these.
NEVER, ENDLESS = 1e-12, 10**6

DEFAULT = "equipoise"
PLAIN = "equipoise, plain L-BFGS"
#: The one of deepinv's optimisation classes whose curve is drawn.
FASTEST = "deepinv FISTA"
NONMONOTONE = "equipoise, nonmonotone"


@dataclass(frozen=True)
class Method:
    """A way to solve an instance.

    Args:
        label: of its row.
        run: solves until the watch ends it.
        equilibrium: whether it is an equilibrium model of another package, which the speed-up is
            measured against.
        ours: whether it is a solver of equipoise.
    """

    label: str
    run: Callable[[Setting, Watch], object]
    equilibrium: bool = False
    ours: bool = False

    def __call__(self, given: Setting, watch: Watch) -> Trajectory:
        """Solve under a watch."""
        return trajectory(watch, lambda: self.run(given, watch))


def own(label: str, solver: Solver | None) -> Method:
    """One of equipoise's solvers; None is the default."""

    def run(given: Setting, watch: Watch) -> object:
        instance = given.instance
        equation = WatchedEquation(
            instance.problem.physics,
            instance.y,
            instance.regularizer,
            instance.alpha,
            watch=watch,
        )
        return solve(
            equation,
            given.start,
            solver,
            tolerance=NEVER,
            max_evaluations=ENDLESS,
            patience=ENDLESS,
        )

    return Method(label, run, ours=True)


OURS = (
    own(DEFAULT, None),
    own(PLAIN, LBFGS(preconditioned=False)),
    own(NONMONOTONE, NonmonotoneAcceleratedGradient()),
)


def _peer(label: str, call: Callable[[Setting], object], *, equilibrium: bool = False) -> Method:
    return Method(label, lambda given, watch: call(given.watched(watch)), equilibrium)


def peers() -> list[Method]:
    """The other packages' methods that can be run here."""
    deepinv = [
        _peer("deepinv GD", partial(deepinv_models.gradient_descent, anderson=False)),
        _peer("deepinv GD, Anderson", partial(deepinv_models.gradient_descent, anderson=True)),
        _peer("deepinv PGD", partial(deepinv_models.proximal_gradient, anderson=False)),
        _peer("deepinv PGD, Anderson", partial(deepinv_models.proximal_gradient, anderson=True)),
        _peer(FASTEST, deepinv_models.fista),
        _peer(
            "deepinv equilibrium",
            partial(deepinv_models.equilibrium, anderson=False),
            equilibrium=True,
        ),
        _peer(
            "deepinv equilibrium, Anderson",
            partial(deepinv_models.equilibrium, anderson=True),
            equilibrium=True,
        ),
    ]
    if not torchdeq_models.available():
        return deepinv
    return [
        *deepinv,
        _peer(
            "torchdeq, Anderson",
            partial(torchdeq_models.forward, solver="anderson"),
            equilibrium=True,
        ),
        _peer(
            "torchdeq, Broyden",
            partial(torchdeq_models.forward, solver="broyden"),
            equilibrium=True,
        ),
    ]
