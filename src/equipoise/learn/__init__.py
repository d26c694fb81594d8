"""Learn R from data: bilevel, equilibrium, Jacobian-free, unrolled."""

from equipoise.learn.bank import PatchBank, fill_bank
from equipoise.learn.calibrate import calibrate
from equipoise.learn.log import Progress, TrainingResult
from equipoise.learn.losses import LOSSES, upper_loss
from equipoise.learn.recipe import learn
from equipoise.learn.trainer import train
from equipoise.learn.validation import Validation, make_validation, psnr
from equipoise.settings.training import TrainSettings

__all__ = [
    "LOSSES",
    "PatchBank",
    "Progress",
    "TrainSettings",
    "TrainingResult",
    "Validation",
    "calibrate",
    "fill_bank",
    "learn",
    "make_validation",
    "psnr",
    "train",
    "upper_loss",
]
