"""deepinv's optimisation classes and its equilibrium model, with and without Anderson's method.

Options are those of deepinv's documentation: the L2 data fidelity, the regulariser as the prior,
``lambda_reg`` as its strength, a step of 1 / L, Anderson acceleration and the backward solve with
their default configurations.
"""

from __future__ import annotations

from typing import Any

import torch
from deepinv.optim import FISTA, GD, PGD, BaseOptim, DEQConfig
from deepinv.optim.data_fidelity import L2
from torch import Tensor

from benchmarks.peers.setting import Setting

#: More iterations than any run makes: the watch ends them.
ENDLESS = 10**6


def gradient_descent(given: Setting, anderson: bool) -> None:
    """Run ``deepinv.optim.GD`` until the watch ends it."""
    _run(given, GD(**_common(given), stepsize=1 / given.bound, anderson_acceleration=anderson))


def proximal_gradient(given: Setting, anderson: bool) -> None:
    """Run ``deepinv.optim.PGD``: gradient steps on the prior, proximal steps on the data."""
    step = 1 / given.lipschitz
    model = PGD(**_common(given), stepsize=step, g_first=True, anderson_acceleration=anderson)
    _run(given, model)


def fista(given: Setting) -> None:
    """Run ``deepinv.optim.FISTA``, the accelerated form of the same."""
    _run(given, FISTA(**_common(given), stepsize=1 / given.lipschitz, g_first=True))


def equilibrium(given: Setting, anderson: bool) -> None:
    """Run the forward pass of the equilibrium model (``DEQ=True``) of gradient descent."""
    _run(given, equilibrium_model(given, ENDLESS, anderson))


def equilibrium_model(
    given: Setting, iterations: int, anderson: bool, backward: DEQConfig | None = None
) -> BaseOptim:
    """deepinv's equilibrium model of gradient descent.

    Args:
        given: the instance.
        iterations: of the forward pass.
        anderson: whether to accelerate the forward pass.
        backward: how the backward pass is solved; None is deepinv's default.
    """
    return GD(
        **_common(given, iterations),
        stepsize=1 / given.bound,
        anderson_acceleration=anderson,
        unfold=True,
        DEQ=DEQConfig() if backward is None else backward,
        trainable_params=[],
    )


def anderson_backward() -> DEQConfig:
    """deepinv's backward pass with its Anderson acceleration."""
    return DEQConfig(anderson_acceleration_backward=True)


def _common(given: Setting, iterations: int = ENDLESS) -> dict[str, Any]:
    return {
        "data_fidelity": L2(),
        "prior": given.prior,
        "lambda_reg": given.instance.alpha,
        "max_iter": iterations,
        "cost_fn": _no_cost,
    }


def _no_cost(x: Tensor, *args: Any) -> Tensor:
    """Stands for the objective, which Anderson acceleration evaluates but does not use."""
    return x.new_zeros(())


def _run(given: Setting, model: BaseOptim) -> None:
    instance = given.instance
    start = (given.start, given.start.clone())
    with torch.no_grad():
        model(instance.y, instance.problem.physics, init=start)
