"""What is compared: a regulariser, the mode it is learned in, and what the report calls it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from equipoise.errors import UnknownNameError, UsageError
from equipoise.settings.training import Mode
from equipoise.shipped.default import DEFAULT

Method = Literal[
    "bilevel",
    "equilibrium",
    "jacobian-free",
    "unrolled",
    "source-condition",
    "tv",
    "tikhonov",
    "pretrained",
]

#: Filters of the convolutional pair and their side: 24 is every zero-mean cosine atom of 5 x 5.
FILTERS, KERNEL = 24, 5


@dataclass(frozen=True)
class MethodSpec:
    """One row of the comparison.

    Args:
        label: its name in the report.
        method: how it is learned (the ``method`` of ``summary.json``).
        regularizer: name in the catalogue of regularisers, or of weights that ship.
        config: constructor arguments.
    """

    label: str
    method: Method
    regularizer: str
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def mode(self) -> Mode | None:
        """Training mode; None for what is not trained here: its strength is tuned instead."""
        return cast(Mode, self.method) if self.method in get_args(Mode) else None


@dataclass(frozen=True)
class _Entry:
    words: str
    name: str
    config: dict[str, Any]
    gradient_field: bool


_PAIR = {"filters": FILTERS, "kernel_size": KERNEL, "activation": "tanh"}
_HALF = {**_PAIR, "filters": FILTERS // 2}
_RIDGE = {"filters": (FILTERS,), "kernel_size": KERNEL}

#: Regularisers that can be compared, by the name that users type.
CANDIDATES: dict[str, _Entry] = {
    "tied-conv": _Entry("Tied pair", "tied-conv", _PAIR, True),
    "untied-conv": _Entry("Untied pair", "untied-conv", _PAIR, False),
    "untied-conv-half": _Entry("Untied pair at half width", "untied-conv", _HALF, False),
    "crr": _Entry("Convex ridge", "crr", _RIDGE, True),
    "wcrr": _Entry("Weakly convex ridge", "wcrr", _RIDGE, True),
    "fields-of-experts": _Entry("Fields of experts", "fields-of-experts", {}, True),
    "contractive": _Entry("Contractive residual", "contractive", {}, False),
}

_BASELINES: dict[str, MethodSpec] = {
    "tikhonov": MethodSpec("Tikhonov", "tikhonov", "tikhonov", {"operator": "gradient"}),
    "tv": MethodSpec("Total variation", "tv", "tv"),
}

#: Whose strength alone is tuned, beside the baselines.
_READY: dict[str, MethodSpec] = {
    "pretrained": MethodSpec("Pretrained ridge", "pretrained", DEFAULT),
}

#: What each way of learning is applied to unless the user names regularisers.
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "bilevel": ("tied-conv", "crr"),
    "equilibrium": ("untied-conv", "untied-conv-half"),
    "jacobian-free": ("untied-conv",),
    "unrolled": ("tied-conv",),
    "source-condition": ("contractive", "crr"),
}

#: Every method that ``--methods`` takes.
METHODS = (*_BASELINES, *_DEFAULTS, *_READY)


def specs(methods: tuple[str, ...], regularizers: tuple[str, ...] | None) -> list[MethodSpec]:
    """The rows of a comparison.

    Args:
        methods: ways of learning and baselines, in the order of the report.
        regularizers: what every way of learning is applied to; None takes each one's default
            (bilevel: tied pair and convex ridge; equilibrium: untied pair, full and half width;
            source-condition: contractive residual and convex ridge).

    Raises:
        UnknownNameError: for unknown names, with the nearest valid one.
        UsageError: if bilevel learning is asked for with fields none of which has a potential.
    """
    rows: list[MethodSpec] = []
    for method in methods:
        tuned = {**_BASELINES, **_READY}
        if method in tuned:
            rows.append(tuned[method])
            continue
        if method not in _DEFAULTS:
            raise UnknownNameError("method", method, METHODS)
        names = _DEFAULTS[method] if regularizers is None else regularizers
        found = [_learned(method, name) for name in names if _suits(method, name)]
        if not found:
            raise UsageError(
                f"Bilevel learning needs a gradient field; {', '.join(names)} has no potential. "
                "Use --methods equilibrium for it."
            )
        rows.extend(found)
    return rows


def _suits(method: str, name: str) -> bool:
    if name not in CANDIDATES:
        raise UnknownNameError("regularizer", name, CANDIDATES)
    return method != "bilevel" or CANDIDATES[name].gradient_field


def _learned(method: str, name: str) -> MethodSpec:
    entry = CANDIDATES[name]
    label = f"{entry.words}, {method}"
    return MethodSpec(label, cast(Method, method), entry.name, dict(entry.config))
