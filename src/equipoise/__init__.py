"""Learned regularisation of inverse problems by equilibrium: solve, differentiate, learn, certify.

The names of ``__init__.pyi`` are imported when first used, so that ``import equipoise`` costs
nothing; the packages inside do the same. The functions ``solve`` and ``learn`` live in the
packages of the same names: ``from equipoise.solve import solve``, ``from equipoise.learn import
learn``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
