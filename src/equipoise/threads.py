"""How many processor threads compute: little work is slower when it is handed out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: A minibatch of fewer pixels is computed by one thread: 8 patches of 48 x 48 are faster so on a
#: quiet machine, and beside other programs by a factor (``python -m benchmarks.threads``).
FEW_PIXELS = 2**15
#: Who sets it chooses the threads.
CHOSEN = "OMP_NUM_THREADS"


@contextmanager
def threads_for(pixels: int) -> Iterator[None]:
    """Compute with one thread where there is little work, otherwise with those that there are.

    Nothing changes where the environment variable ``OMP_NUM_THREADS`` is set or the program was
    given ``--threads``.

    Args:
        pixels: of the batch, all channels.
    """
    before = torch.get_num_threads()
    if before == 1 or CHOSEN in os.environ or pixels >= FEW_PIXELS:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_in_words() -> str:
    """How many threads compute, for records."""
    count = torch.get_num_threads()
    adapted = count > 1 and CHOSEN not in os.environ
    return f"{count}, 1 for training on small patches" if adapted else str(count)


def choose_threads(count: int) -> None:
    """Compute with so many threads from now on, whatever the work, in processes begun here too."""
    os.environ[CHOSEN] = str(count)
    torch.set_num_threads(count)
