"""Every setting of a training run, checked once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from equipoise.errors import UsageError
from equipoise.settings.setting import LEARNING, Seed, Settings, Shown

Mode = Literal["bilevel", "equilibrium", "jacobian-free", "unrolled", "source-condition"]
Loss = Literal["mse", "l1", "huber", "ssim"]
Schedule = Literal["constant", "cosine", "step"]

#: The mode without a lower-level solve.
SOURCE: Literal["source-condition"] = "source-condition"

JacobianPenalty = Annotated[
    float,
    Field(
        ge=0,
        description="Weight of the penalty that keeps an untied field's equilibrium.",
    ),
    Shown("W", LEARNING),
]


class LearningSettings(Settings):
    """What training and the comparison have in common; the program's defaults."""

    steps: Annotated[int, Shown("N", LEARNING)] = Field(80, ge=1)
    """Optimisation steps; a seed then gives the same numbers."""
    time_budget: Annotated[float | None, Shown("TIME", LEARNING, typed=str, instead_of="steps")] = (
        Field(None, gt=0)
    )
    """Learn for 120s, 2m or 1h instead of a number of steps."""
    pretrain: Annotated[Literal["source-condition"] | None, Shown(SOURCE, LEARNING)] = None
    """Train by the source condition's loss first, which solves no equation."""
    pretrain_steps: Annotated[int, Shown("N", LEARNING)] = Field(200, ge=1)
    """Steps of --pretrain, on top of the others; of a time budget it takes at most half."""
    batch_size: Annotated[int, Shown("N", LEARNING)] = Field(8, ge=1)
    """Patches per step."""
    patch_size: Annotated[int, Shown("PIXELS", LEARNING)] = Field(48, ge=8)
    """Side of a training patch."""
    patches: Annotated[int, Shown("N", LEARNING)] = Field(96, ge=1)
    """Number of training patches, each with one stored measurement."""
    jacobian_penalty: JacobianPenalty = 0.1
    seed: Seed = 0


class TrainSettings(LearningSettings):
    """How a regulariser is trained; immutable, JSON-able, part of the weights file.

    Beside a number of ``steps``, ``time_budget`` is the seconds of training after which it ends
    early; the schedules of learning rate and tolerance then follow the clock if it runs out before
    the steps do. Training is reproducible for a fixed number of steps and of threads
    (``OMP_NUM_THREADS``). The penalty of ``jacobian_penalty`` is that of
    :mod:`equipoise.learn.stability`; here it is off unless set.
    """

    mode: Annotated[
        Mode,
        Shown("MODE", LEARNING, default="bilevel for gradient fields, otherwise equilibrium"),
    ] = "bilevel"
    """bilevel (gradient field, conjugate gradients), equilibrium (any R, exact adjoint),
    jacobian-free (Neumann series), unrolled (back-propagation through gradient steps) or
    source-condition (no lower-level solve)."""
    loss: Annotated[Loss, Shown("mse|l1|huber|ssim", LEARNING)] = "mse"
    """What is minimised over the training images."""
    learning_rate: Annotated[
        float, Shown("RATE", LEARNING, default="what suits the regularizer")
    ] = Field(0.3, gt=0)
    """Of Adam at the start."""
    schedule: Schedule = "cosine"
    """``cosine`` to a fiftieth, ``step`` (a third at 1/2 and 3/4), or ``constant``."""
    warmup: int = Field(5, ge=0)
    """Steps of linear warm-up."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient of all parameters."""
    tolerance: float = Field(2e-4, gt=0)
    """Relative residual of the lower-level solve at the end of training."""
    first_tolerance: float = Field(1e-3, gt=0)
    """The same at the start; it falls geometrically over the first half."""
    max_evaluations: int = Field(300, ge=1)
    """Limit of evaluations per lower-level solve."""
    adjoint: str | None = None
    """Name of the adjoint's linear solver; None takes the one for the traits."""
    adjoint_tolerance: float = Field(3e-2, gt=0)
    """Relative residual of the adjoint equation."""
    max_products: int = Field(50, ge=1)
    """Limit of Jacobian products per adjoint solve."""
    neumann_terms: int = Field(0, ge=0)
    """K of the truncated series in mode ``jacobian-free``."""
    unrolled_steps: int = Field(10, ge=1)
    """K of mode ``unrolled``."""
    augment: Annotated[bool, Shown("", LEARNING)] = False
    """Turn patches at every visit by flips and rotations that commute with the measurements."""
    warm_start: bool = True
    """Whether solutions and adjoints start from the patch's last ones."""
    warm_start_bytes: int = Field(2**30, ge=0)
    """Memory for these; where it is too small, adjoints are given up first, then solutions, each
    from the last patch on."""
    jacobian_penalty: JacobianPenalty = 0.0
    monotonicity_margin: float = Field(0.0, ge=0)
    """The share of the largest data curvature that the penalty asks for."""
    norm_control: bool = True
    """Whether an untied pair is held within the distance from a tied one that proves uniqueness,
    where the physics allows such a proof."""
    source_beta: Annotated[
        float | None, Shown("BETA", LEARNING, default="the square of the noise")
    ] = Field(None, gt=0)
    """beta of the source condition's loss."""
    margin_weight: Annotated[float, Shown("W", LEARNING)] = Field(1e-4, gt=0)
    """Weight of the margin in the source condition's loss."""
    margin: float = Field(1.0, gt=0)
    """kappa, the monotonicity that the margin asks of R along sampled directions."""
    validate_every: int = Field(20, ge=1)
    """Steps between two validations."""
    patience: int | None = Field(None, ge=1)
    """Validations without gain before training stops early; None never stops."""
    checkpoint_seconds: float = Field(120.0, gt=0)
    """Time between two checkpoints; the first comes after ten seconds."""

    @model_validator(mode="after")
    def _another_mode_follows(self) -> TrainSettings:
        if self.pretrain == self.mode:
            raise UsageError("Pretraining by the source condition comes before another mode.")
        return self

    @property
    def total_steps(self) -> int:
        """Optimisation steps including those of pretraining."""
        return self.steps + (self.pretrain_steps if self.pretrain else 0)
