"""Read and write image files without losing depth, alpha or orientation."""

from equipoise.images.image import Depth, Image, to_colour, to_gray
from equipoise.images.reading import SUFFIXES, is_image_file, read_image
from equipoise.images.writing import lossless_name, write_image

__all__ = [
    "SUFFIXES",
    "Depth",
    "Image",
    "is_image_file",
    "lossless_name",
    "read_image",
    "to_colour",
    "to_gray",
    "write_image",
]
