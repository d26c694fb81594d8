"""What the theorems need of an equation: its constants, sample by sample, in whitened data.

The weight ``1 / sigma^2`` of ``L2(sigma)`` is moved into the physics and the data: with
``B = A / sigma`` and ``b = y / sigma`` the equation is ``B^T (B x - b) + alpha R(x) = 0``, so that
every theorem holds of B and b, and norms of data are divided by sigma.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from equipoise.bounds import Bound, Kind, inflate
from equipoise.certify.claims import text
from equipoise.certify.constants import lipschitz_from_traits, modulus_from_traits
from equipoise.certify.rounding import allowance, length
from equipoise.checks import require_like
from equipoise.data_term import DataTerm
from equipoise.equation import Equation
from equipoise.errors import HypothesisError, InputError
from equipoise.fields import Traits
from equipoise.gram import SpectralCalculus

#: Advice where a positive modulus of R is missing.
STRONGER = "Use a regulariser with a proved positive modulus, for example a contractive one."
_PARAMETRISATION = (
    "a field that is strongly monotone by construction, such as 'contractive' (R = Id - N with "
    "Lip(N) <= q < 1)"
)


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """The constants of one equation, rounded to the safe side.

    A :class:`Bound` holds for all samples, whose alpha may differ; a tensor has a number for each,
    shape (B,), float64.

    Args:
        equation: an equation with the squared-norm data fidelity.

    Raises:
        HypothesisError: for any other data fidelity, or one sigma per sample.
        InputError: if what the equation refers to has been changed since it was built.
    """

    equation: Equation

    def __post_init__(self) -> None:
        self.equation.check_unchanged()
        if type(self.equation.data) is not DataTerm:
            name = type(self.equation.data_fidelity).__name__
            raise HypothesisError(
                f"These bounds are proved for the squared norm, not for {name}: "
                "use deepinv.optim.L2(sigma) as data fidelity."
            )
        weight = self.equation.data.weight
        if isinstance(weight, Tensor) and len(weight) > 1:
            raise HypothesisError(
                "These bounds are for one sigma of deepinv.optim.L2(sigma), not one per sample: "
                "make an equation for each sigma."
            )

    @property
    def weight(self) -> float:
        """``1 / sigma^2``."""
        return float(self.equation.data.weight)

    @property
    def whitening(self) -> float:
        """``1 / sigma``: what norms of data are multiplied by."""
        return math.sqrt(self.weight)

    @cached_property
    def alpha(self) -> Tensor:
        """alpha of each sample."""
        alpha = torch.as_tensor(self.equation.alpha, dtype=torch.float64).detach().cpu()
        return alpha.reshape(-1).expand(len(self.equation.y)).to(self.equation.y.device)

    @cached_property
    def alpha_range(self) -> tuple[float, float]:
        """Smallest and largest alpha."""
        return float(self.alpha.min()), float(self.alpha.max())

    @cached_property
    def _spectrum(self) -> tuple[Bound, Bound]:
        with torch.no_grad():
            return self.equation.data.spectrum

    @property
    def low(self) -> Bound:
        """``s_-^2``, from below."""
        return self._spectrum[0]

    @property
    def high(self) -> Bound:
        """``s_+^2``; proved from above, or estimated."""
        return self._spectrum[1]

    @property
    def proved_high(self) -> float:
        """``s_+^2`` where it is proved, else infinity, which is safe."""
        return self.high.value if self.high.proved else math.inf

    @cached_property
    def traits(self) -> Traits:
        """What R declares."""
        return self.equation.traits

    @cached_property
    def mu(self) -> Bound | None:
        """At most the modulus of R; None where none is known."""
        return _finite(modulus_from_traits(self.traits))

    @cached_property
    def lipschitz(self) -> Bound | None:
        """L, at least the Lipschitz constant of R; None where no finite one is known."""
        return _finite(lipschitz_from_traits(self.traits))

    @property
    def monotone(self) -> bool:
        """Whether R is monotone, proved or estimated."""
        return self.mu is not None and self.mu.value >= 0

    @cached_property
    def beta(self) -> Tensor:
        """``alpha mu`` of each sample; needs :attr:`mu`."""
        assert self.mu is not None
        return self.alpha * self.mu.value

    @property
    def pull(self) -> Bound | None:
        """The smallest ``alpha mu``."""
        return None if self.mu is None else replace(self.mu, value=float(self.beta.min()))

    @property
    def m(self) -> Bound | None:
        """``m = s_-^2 + alpha mu``, the strong monotonicity of E, the smallest of the batch."""
        return None if self.pull is None else self.low + self.pull

    @property
    def largest(self) -> Bound | None:
        """``L_E = s_+^2 + alpha L``; a lower estimate of it where ``||A||`` is estimated."""
        if self.lipschitz is None:
            return None
        return self.high + self.lipschitz.times(self.alpha_range[1])

    @property
    def strong(self) -> bool:
        """Whether ``m > 0``, so that there is exactly one equilibrium."""
        return self.m is not None and self.m.value > 0

    @property
    def alpha_limit(self) -> Bound:
        """The alpha below which m > 0 is known: ``s_-^2 / -mu``, rounded down.

        Infinite where every alpha will do, 0 where none is known to.
        """
        low, mu = self.low, self.mu
        if mu is None:
            return Bound(0.0, Kind.ESTIMATED, "no constant of R is known")
        if mu.value > 0 or (mu.value == 0 and low.value > 0):
            limit = math.inf
        else:
            limit = low.value / inflate(-mu.value) if low.value > 0 else 0.0
        return Bound(limit, self.kind, low.why if mu.proved else mu.why)

    @property
    def failing(self) -> tuple[str, str]:
        """Why ``m > 0`` is not known, and what would mend it; both empty where it is."""
        mu, pull, low = self.mu, self.pull, self.low.value
        if self.strong:
            return "", ""
        if mu is None or pull is None:
            words = "No modulus and no Lipschitz constant of R is known, so m cannot be bounded."
            return words, f"Use {_PARAMETRISATION}, or declare traits() that can be proved."
        if mu.value == 0:
            words = "R is monotone, but not strongly (mu = 0), and s_- > 0 is not known: m = 0."
            mended = "Add a multiple of Tikhonov's regulariser (R + c * Tikhonov())"
            return words, f"{mended}, or use {_PARAMETRISATION}."
        words = (
            f"R is only known to be monotone up to {text(-mu.value)}: alpha times that is "
            f"{text(-pull.value)}, but s_-^2 is only known to be at least {text(low)}; "
            f"m > 0 fails by {text(-(low + pull.value))}."
        )
        if low > 0:
            limit = f"Take alpha <= {self.alpha_limit.value:.8g}, which makes m > 0"
            return words, f"{limit}, or {_PARAMETRISATION}."
        return words, (
            f"No alpha helps, because s_- > 0 is not known for this physics. Use "
            f"{_PARAMETRISATION}, or add {text(-mu.value)} times x, or more, to R."
        )

    @property
    def kind(self) -> Kind:
        """Standing of whatever rests on mu and s_-."""
        return standing(self.mu, self.low)

    def each_m(self) -> Tensor:
        """``s_-^2 + alpha mu`` of each sample, where all are positive.

        Raises:
            HypothesisError: if it is unknown or not positive.
        """
        if not self.strong:
            raise HypothesisError(" ".join(self.failing))
        return self.low.value + self.beta

    def gain(self) -> Tensor:
        """``gamma = max s / (s^2 + alpha mu)`` over ``s_- <= s <= s_+`` (theory, Thm 2).

        The maximum is at ``sqrt(alpha mu)`` clipped to the interval, at s_- for ``mu < 0``. Where
        s_+ is only estimated it is not used. Needs a positive :attr:`m`.
        """
        s = self.beta.clamp_min(0.0).sqrt()
        s = s.clamp(math.sqrt(self.low.value), math.sqrt(self.proved_high))
        gain = s / (s.square() + self.beta)
        return torch.where(s > 0, gain, 0.0)  # s_- = s_+ = 0: nothing is measured

    @property
    def calculus(self) -> SpectralCalculus | None:
        """Functions of ``A^T A`` (not whitened), where the physics is decomposable."""
        return self.equation.data.gram.calculus

    def dual_norm(self, e: Tensor) -> Tensor | None:
        """``||e||_{M^{-1}}`` with ``M = A^T A / sigma^2 + alpha mu I``; None without a basis.

        Formula: ``sqrt(<e, M^{-1} e>)``. Needs a positive :attr:`m`.
        """
        if self.calculus is None:
            return None
        low, weight = self.low.value, self.weight

        def root(s: Tensor, beta: Tensor) -> Tensor:
            return ((weight * s.square()).clamp_min(low) + beta).rsqrt()

        return length(self.calculus.apply(root, e, self.beta))

    def divided(self, e: Tensor, slack: Tensor) -> Tensor:
        """The distance that a perturbation e of the equation can cause, the best of two bounds.

        Formula: ``min(||e|| / m, ||e||_{M^{-1}} / sqrt(m))`` with ``slack`` added to ``||e||``.
        Needs a positive :attr:`m`.
        """
        m = self.each_m()
        plain, dual = (length(e) + slack) / m, self.dual_norm(e)
        return plain if dual is None else torch.minimum(plain, dual / m.sqrt() + slack / m)

    def rounding(self, x: Tensor, field: Tensor) -> Tensor:
        """Allowance for the rounding of ``E(x)``.

        Formula: ``16 eps (s_+^2 ||x|| + s_+ ||y|| / sigma + alpha (||R(x)|| + L ||x||))``: each
        product with A or its adjoint loses a few units relative to its norm, R what its Lipschitz
        constant makes of a change of x in the last digit.
        """
        top, size = self.high.value, length(x)
        data = top * size + math.sqrt(top) * self.whitening * length(self.equation.y)
        return allowance(data + self.alpha * self.field_size(x, field), x.dtype)

    def field_size(self, x: Tensor, field: Tensor) -> Tensor:
        """``||R(x)|| + L ||x||``, which the rounding of R(x) is relative to (L = 1 if unknown)."""
        slope = 1.0 if self.lipschitz is None else self.lipschitz.value
        return length(field) + slope * length(x)

    def check_images(self, **images: Tensor) -> None:
        """Refuse images that are not those of the equation.

        Raises:
            InputError: naming the image.
        """
        for name, image in images.items():
            require_like(name, image, self.equation.like, "the equation's images")
            if not bool(torch.isfinite(image).all()):
                raise InputError(f"{name} has values that are NaN or infinite.")

    def noise(self, noise_norm: float | Tensor) -> Tensor:
        """The bound on the noise of each sample, shape (B,).

        Raises:
            InputError: if it is negative, not finite, or of another shape.
        """
        delta = torch.as_tensor(noise_norm, dtype=torch.float64)
        if delta.dim() > 1 or not bool((torch.isfinite(delta) & (delta >= 0)).all()):
            raise InputError(
                f"noise_norm must be a number >= 0 or one for each sample, got {delta.tolist()}."
            )
        if delta.dim() == 1 and len(delta) not in (1, len(self.alpha)):
            raise InputError(f"noise_norm has {len(delta)} entries, for {len(self.alpha)} samples.")
        return delta.to(self.alpha.device).reshape(-1).expand(len(self.alpha))


def standing(*bounds: Bound | None) -> Kind:
    """PROVED if every bound is known and proved."""
    good = all(bound is not None and bound.proved for bound in bounds)
    return Kind.PROVED if good else Kind.ESTIMATED


def _finite(bound: Bound | None) -> Bound | None:
    """The bound, where it says anything."""
    return None if bound is None or not math.isfinite(bound.value) else bound
