"""The comparison of bilevel learning and deep equilibrium models on one problem."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
