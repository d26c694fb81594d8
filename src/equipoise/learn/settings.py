"""Every setting of a training run, checked once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mode = Literal["bilevel", "equilibrium", "jacobian-free", "unrolled", "source-condition"]
Loss = Literal["mse", "l1", "huber", "ssim"]
Schedule = Literal["constant", "cosine", "step"]

#: The mode without a lower-level solve.
SOURCE: Literal["source-condition"] = "source-condition"


class TrainSettings(BaseModel):
    """How a regulariser is trained; immutable, JSON-able, part of the weights file.

    Args:
        mode: ``bilevel`` (gradient field, conjugate gradients), ``equilibrium`` (any R, exact
            adjoint), ``jacobian-free`` (Neumann series of ``neumann_terms``), ``unrolled``
            (back-propagation through ``unrolled_steps`` gradient steps), ``source-condition``
            (no lower-level solve at all: see :mod:`equipoise.learn.source_condition`).
        steps: optimisation steps; training is reproducible for a fixed number of steps.
        time_budget: seconds of training after which it ends early, or None; the schedules of
            learning rate and tolerance then follow the clock if it runs out before the steps do.
        seed: seed of patches, noise and mini-batches.
        batch_size: patches per step.
        patch_size: side of a training patch in pixels.
        patches: number of patches in the bank, each with one stored measurement.
        learning_rate: of Adam at the start.
        schedule: ``cosine`` to a fiftieth, ``step`` (a third at 1/2 and 3/4), or ``constant``.
        warmup: steps of linear warm-up.
        clip: largest norm of the gradient of all parameters.
        loss: the upper-level loss.
        tolerance: relative residual of the lower-level solve at the end of training.
        first_tolerance: the same at the start; it falls geometrically over the first half.
        max_evaluations: limit of evaluations per lower-level solve.
        adjoint: name of the adjoint's linear solver; None takes the one for the traits.
        adjoint_tolerance: relative residual of the adjoint equation.
        max_products: limit of Jacobian products per adjoint solve.
        neumann_terms: K of the truncated series in mode ``jacobian-free``.
        unrolled_steps: K of mode ``unrolled``.
        augment: whether every visit of a patch turns it, its measurements and its warm starts by a
            random flip or rotation that commutes with the physics.
        warm_start: whether solutions and adjoints start from the patch's last ones.
        warm_start_bytes: memory for these; where it is too small, adjoints are given up first,
            then solutions, each from the last patch on.
        jacobian_penalty: weight of the penalty that keeps the equation monotone where R is not
            (see :mod:`equipoise.learn.stability`).
        monotonicity_margin: the share of the largest data curvature that the penalty asks for.
        norm_control: whether an untied pair is held within the distance from a tied one that
            proves uniqueness, where the physics allows such a proof.
        source_beta: beta of the source condition's loss; None takes the rule for the noise level
            (see :func:`equipoise.learn.source_condition.usual_beta`).
        margin_weight: lambda, the weight of the margin in mode ``source-condition``, beside a mean
            over pixels.
        margin: kappa, the monotonicity that the margin asks of R along sampled directions.
        pretrain: ``source-condition`` puts training by its loss before that of the mode.
        pretrain_steps: steps of this pretraining, on top of ``steps``; with a time budget it takes
            at most half of it.
        validate_every: steps between two validations.
        patience: validations without gain before training stops early; None never stops.
        checkpoint_seconds: time between two checkpoints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Mode = "bilevel"
    steps: int = Field(80, ge=1)
    time_budget: float | None = Field(None, gt=0)
    seed: int = 0
    batch_size: int = Field(8, ge=1)
    patch_size: int = Field(48, ge=8)
    patches: int = Field(96, ge=1)
    learning_rate: float = Field(0.3, gt=0)
    schedule: Schedule = "cosine"
    warmup: int = Field(5, ge=0)
    clip: float = Field(1.0, gt=0)
    loss: Loss = "mse"
    tolerance: float = Field(2e-4, gt=0)
    first_tolerance: float = Field(1e-3, gt=0)
    max_evaluations: int = Field(300, ge=1)
    adjoint: str | None = None
    adjoint_tolerance: float = Field(3e-2, gt=0)
    max_products: int = Field(50, ge=1)
    neumann_terms: int = Field(0, ge=0)
    unrolled_steps: int = Field(10, ge=1)
    augment: bool = False
    warm_start: bool = True
    warm_start_bytes: int = Field(2**30, ge=0)
    jacobian_penalty: float = Field(0.0, ge=0)
    monotonicity_margin: float = Field(0.0, ge=0)
    norm_control: bool = True
    source_beta: float | None = Field(None, gt=0)
    margin_weight: float = Field(1e-4, gt=0)
    margin: float = Field(1.0, gt=0)
    pretrain: Literal["source-condition"] | None = None
    pretrain_steps: int = Field(200, ge=1)
    validate_every: int = Field(20, ge=1)
    patience: int | None = Field(None, ge=1)
    checkpoint_seconds: float = Field(120.0, gt=0)

    @model_validator(mode="after")
    def _another_mode_follows(self) -> TrainSettings:
        if self.pretrain == self.mode:
            raise ValueError("Pretraining by the source condition comes before another mode.")
        return self

    @property
    def total_steps(self) -> int:
        """Optimisation steps including those of pretraining."""
        return self.steps + (self.pretrain_steps if self.pretrain else 0)
