"""Pretraining and training proper: each a phase with steps and a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.learn.schedules import share_done
from equipoise.settings.training import TrainSettings

#: Share of the time budget after which pretraining ends in any case.
PRETRAINING_SHARE = 0.5
#: A budget must be positive.
SHORTEST = 1e-9


@dataclass(frozen=True)
class Phase:
    """One mode for some steps or some time.

    Args:
        settings: those of this phase alone; ``pretrain`` is None.
        first_step: step of the run at which it begins.
        first_second: second of the run at which it begins.
        ends: second of the run at which its time is spent, or None.
        last: whether training ends with it.
    """

    settings: TrainSettings
    first_step: int
    first_second: float
    ends: float | None
    last: bool

    def share_done(self, step: int, seconds: float) -> float:
        """Share of the phase that is done at a step and second of the run, in [0, 1]."""
        return share_done(step - self.first_step, seconds - self.first_second, self.settings)

    def limit_reached(self, step: int, seconds: float) -> str | None:
        """Why steps or clock end the phase now, or None."""
        settings = self.settings
        if step - self.first_step >= settings.steps:
            return f"{settings.steps} steps done"
        if self.ends is not None and seconds >= self.ends:
            return f"time budget of {self.ends:g} s spent"
        return None


def pretraining_phase(settings: TrainSettings) -> Phase | None:
    """The pretraining that settings ask for, if any."""
    if settings.pretrain is None:
        return None
    budget = settings.time_budget
    ends = None if budget is None else PRETRAINING_SHARE * budget
    own = {
        "mode": settings.pretrain,
        "pretrain": None,
        "steps": settings.pretrain_steps,
        "time_budget": ends,
    }
    return Phase(settings.model_copy(update=own), 0, 0.0, ends, last=False)


def main_phase(settings: TrainSettings, step: int, seconds: float) -> Phase:
    """Training proper from a step and second of the run on; it has the time that is left."""
    budget = settings.time_budget
    left = None if budget is None else max(budget - seconds, SHORTEST)
    own = {"pretrain": None, "time_budget": left}
    return Phase(settings.model_copy(update=own), step, seconds, budget, last=True)
