"""What commands are asked to do beside the problem; help shows it, so nothing heavy is here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from equipoise.settings.setting import (
    LEARNING,
    OUTPUT,
    PROBLEM,
    SOLVING,
    Data,
    Device,
    Seed,
    Settings,
    Shown,
    ValidationCrop,
)
from equipoise.settings.task import Task

Arguments = Annotated[
    dict[str, Any],
    Field(
        default_factory=dict,
        description="Argument of the regularizer, for example filters=32; may be repeated.",
    ),
]


class LearningJob(Settings):
    """What ``equipoise train`` was asked to do."""

    regularizer: Annotated[str, Shown("NAME", LEARNING)] = "tied-conv"
    """tied-conv, untied-conv, crr, wcrr, fields-of-experts, contractive, ..."""
    arguments: Annotated[Arguments, Shown("NAME=VALUE", LEARNING, name="set")]
    task: Task
    """The inverse problem."""
    data: Data = None
    settings: dict[str, Any]
    """Settings of training; the others are the usual ones."""
    validation_crop: ValidationCrop = 128
    device: Device = "auto"
    out: Annotated[Path, Shown("FILE.safetensors", OUTPUT)] = Path("weights.safetensors")
    """The weights file; while learning, a checkpoint lies next to it."""

    @property
    def checkpoint(self) -> Path:
        """The file that lies next to the output while learning."""
        return self.out.with_name(f"{self.out.stem}.checkpoint{self.out.suffix}")


class FieldChoice(Settings):
    """Which regulariser a command is about: one that was learned, or one as it is built."""

    weights: Annotated[Path | None, Shown("FILE.safetensors", PROBLEM)] = None
    """What 'equipoise train' wrote."""
    regularizer: Annotated[str | None, Shown("NAME", PROBLEM, instead_of="weights")] = None
    """Instead of weights: tikhonov, tv, contractive, crr, ... as it is built."""
    arguments: Annotated[Arguments, Shown("NAME=VALUE", PROBLEM, name="set")]


class SolvingSettings(Settings):
    """How exactly an equation is solved, and where."""

    alpha: Annotated[float, Shown("A", SOLVING)] = 1.0
    """Strength of R; with weights relative to what was learned, above 1 smooths more."""
    tolerance: Annotated[float, Shown("T", SOLVING)] = 2e-4
    """Residual of the equation, relative to its scale."""
    max_evaluations: Annotated[int, Shown("N", SOLVING)] = Field(3000, ge=1)
    """Limit of evaluations of the equation for each image."""
    seed: Seed = 0
    device: Device = "auto"


class CertifyJob(SolvingSettings):
    """What ``equipoise certify`` was asked to do."""

    truth: Annotated[Path | None, Shown("IMAGE", PROBLEM, default="an embedded one, camera")] = None
    """The photograph that is measured, restored and certified."""
    size: Annotated[
        int | None,
        Shown("PIXELS", PROBLEM, default="the whole IMAGE; 256 of the embedded photograph"),
    ] = Field(None, ge=8)
    """Side of the central crop that is used."""
    probes: Annotated[int, Shown("N", SOLVING)] = Field(8, ge=2)
    """Random probes of each estimate."""
    out: Annotated[Path | None, Shown("FOLDER", OUTPUT)] = None
    """Also write certificate.html (one page, opens offline) and certificate.json."""
