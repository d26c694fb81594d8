"""The contract that every solver keeps: run :func:`check_solver` on your own ones."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from equipoise.errors import HypothesisError
from equipoise.modes import verb
from equipoise.solve import Solver, State, solve
from equipoise.solve.solver import select_state
from equipoise.status import Status
from equipoise.testing import requirements
from equipoise.testing.systems import LOW, KnownSystem
from equipoise.vectors import norm

#: Relative residual that is asked for.
TOLERANCE = 1e-6
#: Evaluations within which it must be reached.
EVALUATIONS = 3000
#: Steps each of which is looked at.
STEPS = 30
#: Agreement of numbers that are the same but for rounding.
SAME = 1e-9
#: A tolerance that float32 cannot reach.
HOPELESS = 1e-12

require = partial(requirements.require, subject="Solver")
close = partial(requirements.close, subject="Solver")


@verb
def check_solver(solver: Solver[Any], seed: int = 0) -> None:
    """Run every check of the contract on small systems whose solutions are known.

    After every step the state's ``e`` is ``E(x)``, its counter is the number of evaluations, and a
    state cut to some of its samples goes on as they would in the batch; the solutions are found,
    from starts near and far, with and without known constants, in batches that can be cut and in
    ones that cannot; a tolerance beyond the precision ends in STAGNATED; a system without a
    potential is refused where the solver needs one. Systems that the solver refuses are left out.

    Args:
        solver: the algorithm, with options that suit fields with a modulus of 1 and a Lipschitz
            constant of 4.5.
        seed: of the random systems.

    Raises:
        AssertionError: naming the first clause that is broken.
    """
    for system in _accepted(solver, seed):
        _check_states(solver, system)
        _check_samples(solver, system)
        _check_solutions(solver, system)
    _check_precision(solver, seed)


def _accepted(solver: Solver[Any], seed: int) -> list[KnownSystem]:
    """The systems whose hypotheses suit the solver: gradients or not, constants known or not."""
    accepted = []
    for skew, declared in itertools.product((False, True), (True, False)):
        system = KnownSystem.random(seed, skew=skew, declared=declared)
        try:
            solver.require(system)
        except HypothesisError:
            continue
        accepted.append(system)
    refused = all(system.gradient_field for system in accepted) or not solver.needs_potential
    require(refused, "a system without potential is not refused with a HypothesisError")
    require(bool(accepted), "gradient fields with a modulus and a Lipschitz constant are refused")
    return accepted


def _words(system: KnownSystem) -> str:
    kind = "a gradient field" if system.gradient_field else "a field that is no gradient"
    return f"on {kind} with constants {'known' if system.declared else 'unknown'}"


def _check_states(solver: Solver[Any], system: KnownSystem) -> None:
    """What a state says of its point is true after every step."""
    x0 = system.starts()
    state = solver.start(system, x0)
    _check_state(system, state, f"after start() {_words(system)}")
    close(state.x, x0, 0.0, "start() begins elsewhere than at the starting point")
    for number in range(1, STEPS + 1):
        state = solver.step(system, state)
        _check_state(system, state, f"after step {number} {_words(system)}")


def _check_state(system: KnownSystem, state: State, when: str) -> None:
    for name, found in (("x", state.x), ("e", state.e)):
        shape = tuple(found.shape)
        require(shape == tuple(system.z.shape), f"{name} has shape {shape} {when}")
    counter, failed = state.evaluations, state.failed
    require(
        counter.shape == failed.shape == system.rows.shape
        and not counter.is_floating_point()
        and failed.dtype == torch.bool,
        f"evaluations and failed must be whole and boolean of shape (B,) {when}",
    )
    exact = system.exact(state.x)
    size = (norm(exact) + system.gauge.scale).unsqueeze(1)
    close(state.e, exact, SAME, f"the state's e is not E(x) {when}", size)
    require(
        torch.equal(counter, system.spent),
        f"evaluations are {counter.tolist()}, but there were {system.spent.tolist()} {when}",
    )


def _check_samples(solver: Solver[Any], system: KnownSystem) -> None:
    """Samples do not see each other: some of them, cut out, go on as they do in the batch."""
    state, keep = solver.start(system, system.starts()), torch.tensor([2, 0])
    part = system.select(keep)
    assert part is not None, "known systems can be cut"
    for number in range(1, STEPS + 1):
        when = f"in step {number} {_words(system)}"
        cut = select_state(state, keep)
        try:
            alone = solver.step(part, cut)
        except (RuntimeError, IndexError) as error:
            require(False, f"a state cut to some of its samples cannot go on {when}: {error}")
        state = solver.step(system, state)
        _agree(alone.x, state.x[keep], f"samples that are cut out go another way {when}")


def _agree(found: Tensor, expected: Tensor, message: str) -> None:
    """Require the same samples, each up to rounding."""
    worst = float((norm(found - expected) / norm(expected)).max())
    require(worst <= TOLERANCE, f"{message} (relative difference {worst:.3g})")


def _check_solutions(solver: Solver[Any], system: KnownSystem) -> None:
    """The solutions are found, whether or not samples that are done leave the batch."""
    for batch in (system, replace(system, cuttable=False)):
        where = _words(system) if batch.cuttable else f"{_words(system)} that cannot be cut"
        solution = solve(
            batch, batch.starts(), solver, tolerance=TOLERANCE, max_evaluations=EVALUATIONS
        )
        require(solution.all_converged, f"not solved {where}: {solution.summary()}")
        distance = norm(solution.x - system.z)
        require(
            bool((distance <= 1.01 * TOLERANCE * system.gauge.scale / LOW).all()),
            f"CONVERGED is claimed {where} at distances of {distance.tolist()} from the solutions",
        )
        said = solution.solver
        require(
            said.startswith(solver.name), f"describe() says {said!r} of the solver {solver.name!r}"
        )


def _check_precision(solver: Solver[Any], seed: int) -> None:
    """A solve in float32 stays there and gives up where rounding hides the rest."""
    system = KnownSystem.random(seed, dtype=torch.float32)
    x0 = system.starts() + 1.0
    state = solver.step(system, solver.start(system, x0))
    require(
        state.x.dtype == state.e.dtype == torch.float32,
        f"a step in float32 gives x in {state.x.dtype} and e in {state.e.dtype}",
    )
    solution = solve(system, x0, solver, tolerance=HOPELESS, max_evaluations=3 * EVALUATIONS)
    require(
        all(status is Status.STAGNATED for status in solution.statuses),
        f"a relative residual of {HOPELESS:g} is out of float32's reach, but the statuses are "
        f"{', '.join(status.name for status in solution.statuses)} and not STAGNATED",
    )
