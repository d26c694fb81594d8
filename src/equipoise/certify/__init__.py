"""What is known of the equation and its solutions, proved or estimated."""

from equipoise.certify.certificate import certify
from equipoise.certify.constants import (
    Bracket,
    FieldConstants,
    PhysicsConstants,
    physics_constants,
    regularizer_constants,
)
from equipoise.certify.convexity import Uniqueness, uniqueness
from equipoise.certify.source_condition import (
    SourceElement,
    SourceSolver,
    least_norm_element,
    source_element,
    source_loss,
)
from equipoise.certify.statement import Certificate, Section, Statement
from equipoise.certify.symmetry import SymmetryDefect, symmetry_defect

__all__ = [
    "Bracket",
    "Certificate",
    "FieldConstants",
    "PhysicsConstants",
    "Section",
    "SourceElement",
    "SourceSolver",
    "Statement",
    "SymmetryDefect",
    "Uniqueness",
    "certify",
    "least_norm_element",
    "physics_constants",
    "regularizer_constants",
    "source_element",
    "source_loss",
    "symmetry_defect",
    "uniqueness",
]
