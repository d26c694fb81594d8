"""The weights that images are restored with: a user's file, or trained ones by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from equipoise.errors import UsageError
from equipoise.problems.plausible import alpha_for_noise
from equipoise.problems.records import learned_noise, learned_values, recorded_task
from equipoise.regularizers import Regularizer, Scaled, load_regularizer
from equipoise.settings.task import Task
from equipoise.shipped import DEFAULT, Card
from equipoise.shipped.card import card_of
from equipoise.shipped.models import weights_file


@dataclass(frozen=True)
class Learned:
    """A trained regulariser and what is known of it.

    Args:
        regularizer: R.
        task: for which it was trained; None where that does not bind.
        values: between which numbers the images lay that it was learned from.
        card: of weights that have a strength for each noise, as those that ship; None: others.
    """

    regularizer: Regularizer
    task: Task | None
    values: tuple[float, float]
    card: Card | None

    def noise(self, task: Task, *, said: bool) -> float | None:
        """The noise that R is right for, of images in [0, 1]; None: any, or not known."""
        if self.card is not None:
            return None
        known = learned_noise(self.task, task)
        return task.noise / task.span if said and task.noise and known else known

    def strength(
        self, alpha: float, task: Task, *, said: bool, simulate: bool
    ) -> tuple[float, str]:
        """alpha, and a sentence where the noise changes it.

        Args:
            alpha: what the user asks for, relative to what was learned.
            task: the problem.
            said: whether the user said what the noise is.
            simulate: whether images are degraded first, with that noise.

        Raises:
            UsageError: if the noise cannot set the strength.
        """
        if self.card is not None:
            return alpha * self.card.factor(task.name), ""
        if not said:
            return alpha, ""
        known = learned_noise(self.task, task)
        if task.noise and known:
            alpha = alpha_for_noise(alpha, task.noise / task.span, known)
            return (
                alpha,
                f"R was learned for noise of {known * task.span:.3g}: alpha is {alpha:.3g}.",
            )
        if not simulate:
            raise UsageError(
                "--noise sets the strength by the noise that the weights were learned for, which "
                "these do not say for this task: give --alpha."
            )
        return alpha, ""


def weights_for(file: Path | None, name: str | None, device: torch.device) -> Learned:
    """Load a user's file, or trained weights by name.

    Args:
        file: what the user gave.
        name: as in :func:`equipoise.pretrained`; None is the default for gray images.
        device: where R is to be.

    Raises:
        UsageError: if both were given.
        UnknownNameError: if there are no weights of that name.
        WeightsError: if the file is unusable.
    """
    if file is not None and name is not None:
        raise UsageError("Give --weights or --regularizer, which names trained weights.")
    found = weights_file(DEFAULT if name is None else name) if file is None else file
    loaded, record = load_regularizer(found, device)
    card = card_of(record) if file is None and isinstance(loaded, Scaled) else None
    if card is not None:
        return Learned(loaded, None, (0.0, 1.0), card)
    return Learned(loaded, recorded_task(record), learned_values(record), None)
