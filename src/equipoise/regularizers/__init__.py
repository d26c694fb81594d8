"""Regularisation operators R, all deepinv priors."""

from equipoise.convolutions.norm import convolution_norm
from equipoise.fields import Field, Linearization, Traits
from equipoise.regularizers.base import Regularizer, Sum
from equipoise.regularizers.catalogue import NAMES, build
from equipoise.regularizers.classical import SmoothedTotalVariation, Tikhonov
from equipoise.regularizers.contractive import ContractiveResidual
from equipoise.regularizers.deepinv_priors import ExplicitPrior, from_deepinv
from equipoise.regularizers.experts import FieldsOfExperts
from equipoise.regularizers.io import load_regularizer, save_regularizer
from equipoise.regularizers.pairs import (
    DenseTiedPair,
    DenseUntiedPair,
    TiedConvPair,
    UntiedConvPair,
)
from equipoise.regularizers.residual import Residual, ResidualDenoiser
from equipoise.regularizers.ridge import RidgeRegularizer
from equipoise.regularizers.scaled import Scaled

__all__ = [
    "NAMES",
    "ContractiveResidual",
    "DenseTiedPair",
    "DenseUntiedPair",
    "ExplicitPrior",
    "Field",
    "FieldsOfExperts",
    "Linearization",
    "Regularizer",
    "Residual",
    "ResidualDenoiser",
    "RidgeRegularizer",
    "Scaled",
    "SmoothedTotalVariation",
    "Sum",
    "TiedConvPair",
    "Tikhonov",
    "Traits",
    "UntiedConvPair",
    "build",
    "convolution_norm",
    "from_deepinv",
    "load_regularizer",
    "save_regularizer",
]
