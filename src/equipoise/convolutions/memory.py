"""Keep the C library from giving memory back to the system between two evaluations."""

from __future__ import annotations

from functools import cache

import torch

#: A little less than the largest size that glibc adapts to.
LARGEST = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Let freed blocks of up to 31 MiB be used again instead of being mapped anew; once a process.

    glibc serves requests above a threshold by fresh pages, which cost more than what is computed on
    them. The threshold follows the largest such block that was ever freed, up to 32 MiB, and so
    does the amount of free memory that it keeps. The block is never written on, so it takes none.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
