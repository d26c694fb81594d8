"""Regularisation operators R, all deepinv priors."""

from equipoise.regularizers.base import Linearization, Regularizer, Traits
from equipoise.regularizers.classical import SmoothedTotalVariation, Tikhonov
from equipoise.regularizers.experts import FieldsOfExperts
from equipoise.regularizers.pairs import (
    DenseTiedPair,
    DenseUntiedPair,
    TiedConvPair,
    UntiedConvPair,
)
from equipoise.regularizers.ridge import RidgeRegularizer

__all__ = [
    "DenseTiedPair",
    "DenseUntiedPair",
    "FieldsOfExperts",
    "Linearization",
    "Regularizer",
    "RidgeRegularizer",
    "SmoothedTotalVariation",
    "TiedConvPair",
    "Tikhonov",
    "Traits",
    "UntiedConvPair",
]
