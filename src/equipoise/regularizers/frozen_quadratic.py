"""Tikhonov's field with its convolution, for preconditioning."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.circulant import LocalKernels
from equipoise.regularizers.frozen import FrozenField


class FrozenQuadratic(FrozenField):
    """``R(x) = D^T D x`` with forward differences along every axis, or with ``D = Id``."""

    def _local_kernels(self, x: Tensor) -> LocalKernels:
        """The convolution that ``D^T D`` is away from the boundary, every channel by itself."""
        images = x.flatten(0, 1).unsqueeze(1)
        axes = images.dim() - 2
        kernel = x.new_zeros([3] * axes)
        middle = (1,) * axes
        if self.regularizer.dims is None:
            kernel[middle] = 1.0
        else:
            for axis in range(axes):
                kernel.movedim(axis, -1)[middle[1:]] += x.new_tensor([-1.0, 2.0, -1.0])
        kernels = kernel.expand(len(images), 1, 1, 1, *kernel.shape)
        return LocalKernels(torch.ones_like(images), kernels)
