"""What a reader sees of a comparison: the page, the summary file, the terminal's tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
