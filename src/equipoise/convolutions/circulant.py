"""Operators that act like a convolution in each part of an image, and their fast inverses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.randomness import signs_like
from equipoise.vectors import dot, expand, norm, where

#: Eigenvalues below a share of the largest one are raised to it before they are inverted: at any
#: point, and near a solution.
FLOOR, SETTLED_FLOOR = 5e-2, 1e-2
#: Shares to choose from where differences of gradients are known; with the last one all eigenvalues
#: are equal. A better one has to miss by so much less than the present one.
FLOORS, MARGIN = (SETTLED_FLOOR, FLOOR, 0.2, 1.0), 0.2
#: Numbers in a batch from which the parts are transformed one by one: together they leave the
#: caches.
LARGE = 2**18


@dataclass(frozen=True)
class LocalKernels:
    """A positive semi-definite operator that is a convolution in each of several parts of an image.

    Args:
        windows: shape (B, parts, *spatial), not negative, of sum 1 over the parts: how much of
            each pixel belongs to each part.
        kernels: shape (B, parts, c, c, *sizes), centred, of odd sizes: the convolution of c
            channels in each part.
    """

    windows: Tensor
    kernels: Tensor

    def times(self, factor: Tensor | float) -> LocalKernels:
        """The operator times a non-negative number."""
        return LocalKernels(self.windows, factor * self.kernels)

    def mean_diagonal(self) -> Tensor:
        """The mean of the operator's diagonal, shape (B,)."""
        centre = self.kernels.diagonal(dim1=2, dim2=3)
        for size in self.kernels.shape[4:]:
            centre = centre.select(2, size // 2)
        shares = self.windows.flatten(2).mean(2)
        return (shares * centre.mean(2)).sum(1)


def sum_of_kernels(terms: Sequence[LocalKernels]) -> LocalKernels | None:
    """The sum of operators: the one with the most parts keeps them, of others the mean is added.

    Returns:
        None where they act on groups of channels that differ.
    """
    widest = max(terms, key=lambda term: term.windows.shape[1])
    if any(term.kernels.shape[::2][:2] != widest.kernels.shape[::2][:2] for term in terms):
        return None
    dims = widest.windows.dim() - 2
    sizes = [
        max(of_axis) for of_axis in zip(*(t.kernels.shape[-dims:] for t in terms), strict=True)
    ]
    total = _widened(widest.kernels, sizes)
    for term in terms:
        if term is not widest:
            shares = term.windows.flatten(2).mean(2)
            mean = torch.einsum("bj,bj...->b...", shares, term.kernels).unsqueeze(1)
            total = total + _widened(mean, sizes)
    return LocalKernels(widest.windows, total)


def _widened(kernels: Tensor, sizes: Sequence[int]) -> Tensor:
    """Centred kernels with zeros around them."""
    widths = [
        (size - own) // 2 for size, own in zip(sizes, kernels.shape[-len(sizes) :], strict=True)
    ]
    return F.pad(kernels, [width for width in reversed(widths) for _ in range(2)])


@dataclass(frozen=True)
class LocalInverse:
    """``v -> sum_j w_j F* blocks_j F (w_j v)``, a symmetric positive definite operator.

    Args:
        roots: w, shape (B, groups, parts, 1 or c, *spatial), with ``sum_j w_j^2 = 1``, or the
            diagonal operator that balances pixels which are seen differently.
        blocks: shape (B, groups, parts, c, c, *frequencies) of a real FFT, Hermitian and positive
            definite in the axes of size c; images have ``groups * c`` channels.
        spectrum: what the blocks are the inverse of.
        balanced: whether the roots balance pixels.
    """

    roots: Tensor
    blocks: Tensor
    spectrum: Spectrum
    balanced: bool = False

    def __call__(self, v: Tensor) -> Tensor:
        """Apply the operator to images of shape (B, groups * c, *spatial)."""
        return self._images([self.blocks], v)[0]

    def select(self, keep: Tensor) -> LocalInverse:
        """The operator of the samples ``keep`` (indices)."""
        return replace(
            self,
            roots=self.roots[keep],
            blocks=self.blocks[keep],
            spectrum=self.spectrum.select(keep),
        )

    def adapted(self, s: Tensor, y: Tensor) -> LocalInverse:
        """The same with that floor of each sample which turns changes y most nearly to steps s.

        Where curvatures vary from pixel to pixel, as those of noise, small eigenvalues of the
        parts are none of the operator: then a high floor makes the better inverse, in the end a
        multiple of the identity. A floor (one of ``FLOORS``) is left for another if the sum of
        ``sin^2`` of the angles between s and the image of y falls by the share ``MARGIN``.

        Args:
            s: steps, shape (B, steps, groups * c, *spatial); zero ones do not count.
            y: changes of the gradient along them.
        """
        spectrum, choices = self.spectrum, self.spectrum.floor.new_tensor(FLOORS)
        blocks = [spectrum.raised_to(floor.expand(len(s))) for floor in choices[:-1]]
        misses = y.new_zeros(len(choices), len(y))
        balance = self.roots.square().sum(2).expand(-1, -1, self.blocks.shape[3], *y.shape[3:])
        balance = balance.flatten(1, 2)
        for step, change in zip(s.unbind(1), y.unbind(1), strict=True):
            images = [*self._images(blocks, change), balance * change]
            squares = torch.stack([1.0 - _cosine(image, step).square() for image in images])
            misses += torch.nan_to_num(squares, nan=0.0)
        present = (choices.unsqueeze(1) - spectrum.floor).abs().argmin(0)
        least, best = misses.min(0)
        better = least < (1.0 - MARGIN) * misses.gather(0, present.unsqueeze(0)).squeeze(0)
        floor = torch.where(better, choices[best], spectrum.floor)
        spectrum = replace(spectrum, floor=floor)
        return replace(self, blocks=spectrum.raised_to(floor), spectrum=spectrum)

    @property
    def floor(self) -> Tensor:
        """The share of the largest eigenvalue that smaller ones are raised to, (B,)."""
        return self.spectrum.floor

    @property
    def factor(self) -> Tensor:
        """Of each sample where the operator is that multiple of the identity, else NaN, (B,)."""
        top = self.spectrum.values.flatten(1).amax(1)
        return torch.where((self.floor < 1) | self.balanced, torch.nan, 1.0 / top)

    def _images(self, operators: Sequence[Tensor], v: Tensor) -> list[Tensor]:
        """Apply the operators with several blocks to the same images."""
        groups, c, parts = self.blocks.shape[1], self.blocks.shape[3], self.roots.shape[2]
        axes = tuple(range(4 - self.roots.dim(), 0))
        v = v.unflatten(1, (groups, 1, c))
        together = parts if v.numel() < LARGE else 1
        images: list[Tensor] = []
        for start in range(0, parts, together):
            some = slice(start, start + together)
            roots = self.roots[:, :, some]
            waves = torch.fft.rfftn(roots * v, dim=axes)
            for i, blocks in enumerate(operators):
                turned = _times(blocks[:, :, some], waves)
                back = torch.fft.irfftn(turned, s=self.roots.shape[4:], dim=axes).mul_(roots)
                image = back.sum(2) if together > 1 else back.squeeze(2)
                if start:
                    images[i] += image
                else:
                    images.append(image)
        return [image.flatten(1, 2) for image in images]


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and eigenvectors of Hermitian blocks, one block a frequency.

    Args:
        values: shape (B, groups, parts, *frequencies, c); for c = 1
            (B, groups, parts, 1, 1, *frequencies).
        vectors: shape (B, groups, parts, *frequencies, c, c), or None for c = 1.
        floor: share of the largest eigenvalue of each sample that smaller ones are raised to, (B,).
    """

    values: Tensor
    vectors: Tensor | None
    floor: Tensor

    def select(self, keep: Tensor) -> Spectrum:
        """That of the samples ``keep`` (indices)."""
        vectors = None if self.vectors is None else self.vectors[keep]
        return Spectrum(self.values[keep], vectors, self.floor[keep])

    def raised_to(self, floor: Tensor) -> Tensor:
        """Inverse blocks, shape (B, groups, parts, c, c, *frequencies), for a floor of (B,)."""
        top = self.values.flatten(1).amax(1)
        values = torch.maximum(self.values, expand(floor * top, self.values)).reciprocal()
        if self.vectors is None:
            return values
        inverse = (self.vectors * values.unsqueeze(-2)) @ self.vectors.mH
        return inverse.movedim((-2, -1), (3, 4))


def local_inverse(
    local: LocalKernels,
    multiplier: Tensor,
    floor: float | Tensor = FLOOR,
    rows: Tensor | None = None,
) -> LocalInverse:
    """Invert the sum of an operator of convolutions and a circulant one, part by part.

    Exact where the kernels are the same in all parts and images are periodic. Eigenvalues below
    ``floor`` times the largest one of the sample are raised to it.

    Args:
        local: on groups of c channels; its first axis runs over samples and groups.
        multiplier: of the circulant operator, real and not negative, shape
            (1 or B, groups * c, *frequencies) or ones in place of the frequencies.
        floor: between 0 and 1, one number or one for each sample.
        rows: like the diagonal of the operator that the circulant one stands for, where that is not
            constant, shape (1 or B, groups * c, *spatial). The sum is then divided by the roots of
            its diagonal from both sides before it is taken for convolutions.
    """
    root = None
    if rows is not None:
        local, multiplier, root = _balanced(local, multiplier, rows)
    spatial, c = local.windows.shape[2:], local.kernels.shape[2]
    groups = multiplier.shape[1] // c
    waves = transfer(local.kernels, spatial).unflatten(0, (-1, groups))
    shift = multiplier.unflatten(1, (groups, 1, c))
    roots = local.windows.sqrt().unflatten(0, (-1, groups)).unsqueeze(3)
    vectors = None
    if c == 1:
        values = waves.real + shift.unsqueeze(3)
    else:
        shift = torch.diag_embed(shift.movedim(3, -1)).movedim((-2, -1), (3, 4))
        values, vectors = torch.linalg.eigh((waves + shift).movedim((3, 4), (-2, -1)))
    floor = torch.as_tensor(floor, dtype=values.dtype, device=values.device).expand(len(values))
    spectrum = Spectrum(values, vectors, floor)
    if root is not None:
        roots = roots * root.unflatten(1, (groups, 1, c))
    return LocalInverse(roots, spectrum.raised_to(spectrum.floor), spectrum, root is not None)


def _balanced(
    local: LocalKernels, multiplier: Tensor, rows: Tensor
) -> tuple[LocalKernels, Tensor, Tensor | None]:
    """Both operators between roots of the inverse diagonal, and these roots if they are finite."""
    groups = multiplier.shape[1] // local.kernels.shape[2]
    own = local.mean_diagonal().unflatten(0, (-1, groups)).mean(1)
    square = (rows + expand(own, rows)).reciprocal()
    if not bool(torch.isfinite(square).all()):
        return local, multiplier, None
    axes = tuple(range(2, rows.dim()))
    share = (rows * square).mean(axes, keepdim=True) / rows.mean(axes, keepdim=True)
    factor = square.flatten(1).mean(1).repeat_interleave(groups)
    return local.times(expand(factor, local.kernels)), share * multiplier, square.sqrt()


def _times(blocks: Tensor, waves: Tensor) -> Tensor:
    """Multiply waves of c channels, (..., c, *frequencies), by matrices at each frequency."""
    if blocks.shape[3] == 1:
        return blocks.squeeze(4) * waves
    return (blocks * waves.unsqueeze(3)).sum(4)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return dot(a, b) / (norm(a) * norm(b))


def transfer(kernels: Tensor, shape: Sequence[int]) -> Tensor:
    """Real FFT of centred kernels laid on a grid, wrapped around it where they are larger.

    Args:
        kernels: shape (..., *sizes), odd sizes, the origin in the middle.
        shape: sizes of the grid, as many as the kernels have spatial axes.

    Returns:
        Complex tensor of shape (..., *frequencies).
    """
    dims = len(shape)
    sizes = kernels.shape[-dims:]
    places = torch.zeros((), dtype=torch.int64, device=kernels.device)
    for size, length in zip(sizes, shape, strict=True):
        offset = (torch.arange(size, device=kernels.device) - size // 2) % length
        places = places.unsqueeze(-1) * length + offset
    lead = kernels.shape[:-dims]
    grid = kernels.new_zeros(*lead, torch.Size(shape).numel())
    grid.index_add_(-1, places.flatten(), kernels.flatten(-dims))
    return torch.fft.rfftn(grid.unflatten(-1, tuple(shape)), dim=tuple(range(-dims, 0)))


def nearest_multiplier(product: Callable[[Tensor], Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
    """Multiplier of a circulant operator near a symmetric positive semi-definite one.

    Two candidates, both from one product each: the transfer function of the response to a point
    in the middle of the image, exact for what commutes with shifts, and the mean of the diagonal,
    exact for multiples of the identity. Of each sample that one is taken that comes nearer to the
    operator on a random image.

    Args:
        product: the operator on tensors shaped like ``like``; channels are seen one by one.
        like: images, shape (B, C, *spatial), for shape, dtype and device.

    Returns:
        The multiplier, real, not negative, of shape (B, C, *frequencies), and the norm of what it
        misses of the product with the random image, relative to that image, shape (B,).
    """
    spatial = like.shape[2:]
    axes = tuple(range(-len(spatial), 0))
    middle = [size // 2 for size in spatial]
    point = like.new_zeros(*like.shape[:2], spatial.numel())
    point[:, :, 0] = 1.0
    point = point.reshape(like.shape).roll(middle, axes)
    response = product(point).roll([-m for m in middle], axes)
    local = torch.fft.rfftn(response, dim=axes).real.clamp_min(0.0)

    signs = signs_like(like, 0)
    image = product(signs)
    mean = (signs * image).mean(axes, keepdim=True).clamp_min(0.0)
    guess = torch.fft.irfftn(local * torch.fft.rfftn(signs, dim=axes), s=spatial, dim=axes)
    misses = [norm(image - each) / norm(signs) for each in (guess, mean * signs)]
    better = misses[0] <= misses[1]
    return where(better, local, mean), torch.minimum(*misses)
