"""What is known of the equation and its solutions, proved or estimated."""

from equipoise.certify.convexity import Uniqueness, uniqueness
from equipoise.certify.source_condition import (
    SourceElement,
    SourceSolver,
    least_norm_element,
    source_element,
    source_loss,
)
from equipoise.certify.symmetry import SymmetryDefect, symmetry_defect

__all__ = [
    "SourceElement",
    "SourceSolver",
    "SymmetryDefect",
    "Uniqueness",
    "least_norm_element",
    "source_element",
    "source_loss",
    "symmetry_defect",
    "uniqueness",
]
