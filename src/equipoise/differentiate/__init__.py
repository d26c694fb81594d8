"""Differentiate solutions of the equation: implicitly, Jacobian-free, or unrolled."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
