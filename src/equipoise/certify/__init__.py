"""What is known of the equation and its solutions, proved or estimated."""

from equipoise.certify.convexity import Uniqueness, uniqueness
from equipoise.certify.symmetry import SymmetryDefect, symmetry_defect

__all__ = ["SymmetryDefect", "Uniqueness", "symmetry_defect", "uniqueness"]
