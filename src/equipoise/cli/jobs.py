"""What commands are asked to do beside the problem; help shows it, so nothing heavy is here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from equipoise.errors import UsageError
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
    flag,
)
from equipoise.settings.task import Of, Task, refuse_idle

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
    """Instead of weights: tikhonov, tv, contractive, crr, ... as it is built, or a name of weights
    that ship, set to the task's noise."""
    arguments: Annotated[Arguments, Shown("NAME=VALUE", PROBLEM, name="set")]


class SolvingSettings(Settings):
    """How exactly an equation is solved, and where."""

    alpha: Annotated[float, Shown("A", SOLVING)] = Field(1.0, gt=0)
    """Strength of R; with weights relative to what was learned, above 1 smooths more."""
    tolerance: Annotated[float, Shown("T", SOLVING)] = Field(2e-4, gt=0)
    """Residual of the equation, relative to its scale."""
    max_evaluations: Annotated[int, Shown("N", SOLVING)] = Field(3000, ge=1)
    """Limit of evaluations of the equation for each image."""
    seed: Seed = 0
    device: Device = "auto"


class MeasuredSettings(Settings):
    """How files hold measurements."""

    padding: Annotated[
        Literal["circular", "valid"] | None,
        Of("deblur"),
        Shown("circular|valid", PROBLEM, default="valid for measured files, circular to simulate"),
    ] = None
    """deblur: the blur wraps around, or (as in a camera) mixes in what lies outside; the restored
    image is then larger by the kernel's size minus 1."""
    size: Annotated[
        int | None,
        Of("tomography"),
        Shown(
            "PIXELS",
            PROBLEM,
            default="the number of detectors, where the object lies in the circle that they see",
        ),
    ] = Field(None, ge=1)
    """tomography: side of the image that a sinogram becomes."""
    axis: Annotated[
        float | None,
        Of("tomography"),
        Shown("DETECTOR", PROBLEM, default="the middle one, as in scikit-image"),
    ] = Field(None, ge=0)
    """tomography: number of the detector that the axis of rotation is projected on, from 0; 90.5
    lies between two."""
    sinogram: Annotated[
        Literal["sums", "scaled"] | None,
        Of("tomography"),
        Shown("sums|scaled", PROBLEM, default="sums"),
    ] = None
    """tomography: files hold sums along rays in pixels, or these divided by the scale that is
    printed."""

    def refuse_idle(self, task: str, simulate: bool) -> None:
        """Refuse options that would be without effect.

        Raises:
            UsageError: if one belongs to another task, or to measured files only.
        """
        given = [name for name, value in self if value is not None]
        refuse_idle(type(self), given, (task,))
        idle = [flag(name) for name in given if simulate and name != "padding"]
        if idle:
            raise UsageError(f"{' and '.join(idle)}: for measured sinograms, not for --simulate.")


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
