"""Inverse problems ready to solve, and images to learn from."""

from equipoise.adjointness import check_adjoint
from equipoise.problems.datasplit import DataSplit, centre_crop
from equipoise.problems.folders import folder_images
from equipoise.problems.kernels import (
    Kernel,
    gaussian_kernel,
    kernel_from_tensor,
    kernel_from_text,
    motion_kernel,
)
from equipoise.problems.masks import FixedMask, Mask, RandomPixels, RandomRows, mask_from_text
from equipoise.problems.mnist import digits, read_idx
from equipoise.problems.patches import dihedral, sample_patches
from equipoise.problems.phantoms import mosaic, phantoms, random_ellipses, shepp_logan
from equipoise.problems.photographs import photographs
from equipoise.problems.problem import Problem
from equipoise.problems.symmetries import Symmetry, symmetries
from equipoise.problems.tasks import deblur, denoise, from_physics, inpaint
from equipoise.problems.tomography import ParallelBeam, tomography
from equipoise.problems.user_physics import load_user_physics
from equipoise.settings.task import Task
from equipoise.settings.views import Views, views_from_text

__all__ = [
    "DataSplit",
    "FixedMask",
    "Kernel",
    "Mask",
    "ParallelBeam",
    "Problem",
    "RandomPixels",
    "RandomRows",
    "Symmetry",
    "Task",
    "Views",
    "centre_crop",
    "check_adjoint",
    "deblur",
    "denoise",
    "digits",
    "dihedral",
    "folder_images",
    "from_physics",
    "gaussian_kernel",
    "inpaint",
    "kernel_from_tensor",
    "kernel_from_text",
    "load_user_physics",
    "mask_from_text",
    "mosaic",
    "motion_kernel",
    "phantoms",
    "photographs",
    "random_ellipses",
    "read_idx",
    "sample_patches",
    "shepp_logan",
    "symmetries",
    "tomography",
    "views_from_text",
]
