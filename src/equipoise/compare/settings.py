"""Every setting of a comparison, checked once; the YAML file of ``equipoise compare``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from equipoise.compare.methods import specs
from equipoise.errors import UnknownNameError
from equipoise.problems.pose import OWN, TASKS, USUAL_TASKS


class CompareSettings(BaseModel):
    """What is compared, on what, and how long each method may learn.

    Args:
        tasks: any of denoise, inpaint, deblur, tomography; or ``physics`` alone for a user's
            operator.
        data: folder of images; None takes the embedded photographs.
        noise: standard deviation of the noise on images in [0, 1]; None takes the task's own.
        mask: fraction of pixels kept (``0.5``), ``rows:0.5``, or a mask image.
        kernel: ``gaussian:1.5``, ``motion:9``, or an image.
        angles: of tomography, ``30`` or ``60:0-120``.
        physics: ``module:function`` that returns a deepinv linear physics.
        methods: ways of learning and baselines, in the order of the report.
        regularizers: what every way of learning is applied to; None takes each one's default.
        steps: optimisation steps of each learned method.
        time_budget: seconds of training of each learned method, or None.
        pretrain: ``source-condition`` warm-starts every other way of learning by its loss.
        pretrain_steps: steps of this pretraining, on top of ``steps``.
        seed: seed of patches, noise, initial weights and probes.
        seeds: number of training seeds (seed, seed + 1, ...) per learned method.
        device: auto, cpu, or cuda.
        patch_size: side of training patches.
        patches: size of the training bank.
        batch_size: patches per step.
        jacobian_penalty: weight of the penalty that keeps untied equations monotone.
        crop: side of the test crops.
        validation_crop: side of the validation crops.
        tolerance: relative residual of every test solve.
        max_evaluations: limit of evaluations of every test solve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tasks: tuple[str, ...] = USUAL_TASKS
    data: str | None = None
    noise: float | None = Field(None, ge=0)
    mask: str | None = None
    kernel: str | None = None
    angles: str | None = None
    physics: str | None = None
    methods: tuple[str, ...] = ("tikhonov", "tv", "bilevel", "equilibrium")
    regularizers: tuple[str, ...] | None = None
    steps: int = Field(80, ge=1)
    time_budget: float | None = Field(None, gt=0)
    pretrain: Literal["source-condition"] | None = None
    pretrain_steps: int = Field(200, ge=1)
    seed: int = Field(0, ge=0)
    seeds: int = Field(1, ge=1)
    device: str = "auto"
    patch_size: int = Field(48, ge=16)
    patches: int = Field(96, ge=1)
    batch_size: int = Field(8, ge=1)
    jacobian_penalty: float = Field(0.1, ge=0)
    crop: int = Field(256, ge=16)
    validation_crop: int = Field(128, ge=16)
    tolerance: float = Field(2e-4, gt=0)
    max_evaluations: int = Field(3000, ge=1)

    @model_validator(mode="after")
    def _known_names(self) -> CompareSettings:
        specs(self.methods, self.regularizers)
        for name in self.tasks:
            if name not in (*TASKS, OWN):
                raise UnknownNameError("task", name, TASKS)
        return self
