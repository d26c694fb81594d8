"""The matrix of a small physics with its singular value decomposition."""

from __future__ import annotations

from typing import Any

import torch
from deepinv.physics import DecomposablePhysics, LinearPhysics
from torch import Tensor

#: Images rendered at a time while the matrix is read off.
_BLOCK = 256


class MatrixPhysics(DecomposablePhysics):
    """``A = U S V^T`` of a physics that treats every channel alike, as dense matrices.

    On images of a few thousand pixels this makes any linear physics decomposable: singular values
    and kernel are then known to rounding, and ``(A^T A + c I)^{-1}`` costs two products.

    Args:
        physics: a deepinv linear physics.
        image_size: (H, W).
        dtype: torch.float32 or torch.float64.
    """

    def __init__(
        self, physics: LinearPhysics, image_size: tuple[int, int], dtype: torch.dtype
    ) -> None:
        pixels = image_size[0] * image_size[1]
        unit = torch.eye(pixels, dtype=dtype).reshape(pixels, 1, *image_size)
        with torch.no_grad():
            columns = [physics.A(block) for block in unit.split(_BLOCK)]
        self.image_size, self.data_size = image_size, tuple(columns[0].shape[2:])
        matrix = torch.cat([column.flatten(1) for column in columns]).T.contiguous()
        left, values, right = torch.linalg.svd(matrix, full_matrices=True)
        padded = torch.zeros(1, 1, pixels, dtype=dtype)
        padded[..., : len(values)] = values
        super().__init__(
            U=self._to_data,
            U_adjoint=self._from_data,
            V=self._to_image,
            V_adjoint=self._from_image,
            mask=padded,
        )
        self.register_buffer("matrix", matrix)
        self.register_buffer("left", left)
        self.register_buffer("right", right)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Apply A to images (B, C, H, W)."""
        return (x.flatten(2) @ self.matrix.T).unflatten(2, self.data_size)

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        """Apply the transposed matrix to data (B, C, ...)."""
        return (y.flatten(2) @ self.matrix).unflatten(2, self.image_size)

    def _from_image(self, x: Tensor) -> Tensor:
        return x.flatten(2) @ self.right.T

    def _to_image(self, coefficients: Tensor) -> Tensor:
        return (coefficients @ self.right).unflatten(2, self.image_size)

    def _from_data(self, y: Tensor) -> Tensor:
        pixels, rank = len(self.right), min(len(self.left), len(self.right))
        found = (y.flatten(2) @ self.left)[..., :rank]
        return torch.nn.functional.pad(found, (0, pixels - rank))

    def _to_data(self, coefficients: Tensor) -> Tensor:
        rank = min(len(self.left), len(self.right))
        return (coefficients[..., :rank] @ self.left[:, :rank].T).unflatten(2, self.data_size)
