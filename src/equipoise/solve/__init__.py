"""Solve ``E(x) = 0``: one loop, algorithms as leaves."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
