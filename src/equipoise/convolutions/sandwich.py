"""``x -> L^T s(K x + b)`` for convolutions K and L, tile by tile, with filters laid out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from equipoise.convolutions.convolution import Correlation, Padding, laid_out, mirrored, wrap
from equipoise.convolutions.tiles import Tile, cut_grid, demands, plan
from equipoise.errors import InputError

#: Turns the features of a tile into what the adjoint takes; may write on them.
Point = Callable[[Tensor, Tile], Tensor]


class Sandwich(Protocol):
    """``x -> L^T point(K x + b)``, prepared for many evaluations without a graph."""

    def __call__(self, x: Tensor, point: Point, *, linear: bool = False) -> Tensor:
        """Apply the map; ``linear`` leaves out the bias."""

    def transposed(self) -> Sandwich:
        """``x -> K^T point(L x)`` without a bias; tiles are the same."""

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """``K x + b`` as ``point`` sees it, tile by tile in the plan's order."""


class ConvolutionSandwich:
    """``x -> L^T point(K x + b)`` for chains K and L of convolutions of the same sizes.

    All but the last convolution of the chains run on whole images; the many features of the last
    one exist for one tile at a time.

    Args:
        inner: filters of K, those next to the image first.
        outer: filters of L.
        bias: b, shape (features,), or None.
        padding: of every convolution.
    """

    def __init__(
        self,
        inner: Sequence[Tensor],
        outer: Sequence[Tensor],
        bias: Tensor | None,
        padding: Padding,
    ) -> None:
        self._padding: Padding = padding
        self._sides = tuple(inner), tuple(outer)
        self._demands = demands(inner[-1])
        self._head = [Correlation(layer, None, padding) for layer in inner[:-1]]
        self._last = Correlation(inner[-1], bias, padding)
        self._last_linear = self._last if bias is None else Correlation(inner[-1], None, padding)
        self._first = Correlation(mirrored(outer[-1]), None, padding)
        self._tail = [Correlation(mirrored(layer), None, padding) for layer in outer[-2::-1]]

    def transposed(self) -> ConvolutionSandwich:
        """``x -> K^T point(L x)``, for Jacobian products; tiles are the same."""
        inner, outer = self._sides
        if all(a is b for a, b in zip(inner, outer, strict=True)):
            return self
        return ConvolutionSandwich(outer, inner, None, self._padding)

    def __call__(self, x: Tensor, point: Point, *, linear: bool = False) -> Tensor:
        """Apply the map to images of shape (B, channels, *spatial).

        Args:
            x: images.
            point: called once a tile, in the plan's order.
            linear: leave out the bias.
        """
        return self.finished(self.core(x, point, linear=linear))

    def core(self, x: Tensor, point: Point, *, linear: bool = False) -> Tensor:
        """Apply the map up to the last convolution of K transposed, that of L."""
        z = self._reduced(x)
        last = self._last_linear if linear else self._last
        tiles = self._tiles(z)
        if len(tiles) == 1 and tiles[0].whole:
            return self._first(point(last(z), tiles[0]))
        out = laid_out(z.new_empty(len(z), self._first.outputs, *z.shape[2:]))
        source = self._source(z, tiles)
        for tile in tiles:
            self._through(source, tile, last, point, tile.box(out))
        return out

    def finished(self, z: Tensor) -> Tensor:
        """Apply the transposes of the other convolutions of L to what :meth:`core` gave."""
        for layer in self._tail:
            z = layer(z)
        return z.contiguous()

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """``K x + b`` with the margins that tiles have, tile by tile in the plan's order."""
        z = self._reduced(x)
        tiles = self._tiles(z)
        source = self._source(z, tiles)
        for tile in tiles:
            yield self._features(source, tile, self._last)

    def samples(self, x: Tensor, strides: Sequence[int]) -> Iterator[tuple[Tile, Tensor]]:
        """``K x + b`` at every so many pixels along each axis; tiles are those of this grid."""
        z, last = self._reduced(x), self._last
        grid = tuple(-(-size // stride) for size, stride in zip(z.shape[2:], strides, strict=True))
        source = self._padded(z, 1)
        for tile in cut_grid(len(z), grid, self._sides[0][-1]):
            box = source[tile.samples]
            for axis, (low, high) in enumerate(zip(tile.low, tile.high, strict=True)):
                length = (high - low - 1) * strides[axis] + last.sizes[axis]
                box = box.narrow(axis + 2, low * strides[axis], length)
            yield tile, last.every(box, strides)

    def _reduced(self, x: Tensor) -> Tensor:
        """Apply all convolutions of K but the last."""
        z = laid_out(x)
        for layer in self._head:
            z = layer(z)
        return z

    def _tiles(self, z: Tensor) -> tuple[Tile, ...]:
        return plan(len(z), tuple(z.shape[2:]), *self._demands)

    def _source(self, z: Tensor, tiles: Sequence[Tile]) -> Tensor:
        """What tiles are cut from: with a border where they have margins."""
        return z if tiles[0].whole else self._padded(z, 2)

    def _padded(self, z: Tensor, reach: int) -> Tensor:
        """Images continued on every side by so many times what a filter reaches."""
        widths = [reach * half for half in self._last.halves]
        if self._padding == "circular":
            return laid_out(wrap(z, widths))
        return F.pad(z, [width for width in reversed(widths) for _ in range(2)])

    def _features(self, source: Tensor, tile: Tile, last: Correlation) -> Tensor:
        box = tile.box(source, reach=0 if tile.whole else 2)
        return last(box) if tile.whole else last.valid(box)

    def _through(
        self, source: Tensor, tile: Tile, last: Correlation, point: Point, out: Tensor
    ) -> None:
        slopes = point(self._features(source, tile, last), tile)
        if tile.whole:
            out.copy_(self._first(slopes))
            return
        if self._padding == "zero":
            tile.clear_outside(slopes)
        out.copy_(self._first.valid(slopes))


class DenseSandwich:
    """``x -> L^T point(K x + b)`` for matrices K and L on flattened images, in one tile.

    Args:
        inner: K, shape (features, pixels).
        outer: L, of the same shape.
        bias: b, shape (features,), or None.
        image_shape: (channels, *spatial).
    """

    def __init__(
        self, inner: Tensor, outer: Tensor, bias: Tensor | None, image_shape: Sequence[int]
    ) -> None:
        self._inner, self._outer, self._bias = inner, outer, bias
        self._image_shape = tuple(image_shape)

    def transposed(self) -> DenseSandwich:
        """``x -> K^T point(L x)``."""
        return DenseSandwich(self._outer, self._inner, None, self._image_shape)

    def __call__(self, x: Tensor, point: Point, *, linear: bool = False) -> Tensor:
        """Apply the map to images of shape (B, channels, *spatial).

        Raises:
            InputError: if they have another shape.
        """
        check_image_shape(x, self._image_shape)
        shape = self._image_shape[1:]
        (tile,) = plan(len(x), shape, (0,) * len(shape), 1, x.numel())
        features = F.linear(x.flatten(1), self._inner, None if linear else self._bias)
        return (point(features, tile) @ self._outer).reshape(x.shape)

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """``K x + b`` in one piece, shape (B, features).

        Raises:
            InputError: if the images have another shape.
        """
        check_image_shape(x, self._image_shape)
        yield F.linear(x.flatten(1), self._inner, self._bias)


def check_image_shape(x: Tensor, image_shape: tuple[int, ...]) -> None:
    """Refuse images that a matrix was not made for.

    Raises:
        InputError: naming both shapes.
    """
    if x.shape[1:] != image_shape:
        raise InputError(
            f"A dense regularizer takes images of one shape, here {image_shape}, "
            f"got {tuple(x.shape[1:])}; convolutional ones take any size."
        )
