"""The tables of the page: quality, cost and guarantees, every photograph's numbers, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from equipoise.compare.records import RunSummary
from equipoise.report.differences import paired_difference
from equipoise.report.groups import Group, finite_interval
from equipoise.report.markup import table
from equipoise.report.words import (
    MISSING,
    count,
    has_interval,
    interval_text,
    number,
    percent,
    seconds,
    signed,
    significant,
)

#: What is written after an alpha whose search ended at its limit, and what the caption says.
AT_LIMIT = " (limit)"
LIMIT_WORDS = " α (limit): its search ended at its limit, and a better one may lie beyond."


def quality_table(groups: list[Group]) -> str:
    """Tabulate PSNR and SSIM, their intervals, and differences to the input and the baselines."""
    baselines = [group for group in groups if not group.trained]
    heads = [
        "Method",
        "Parameters",
        "PSNR, dB",
        "Gain over input, dB",
        *(f"Minus {group.label}, dB" for group in baselines),
        "SSIM",
        "n",
    ]
    rows = [_input_row(groups, len(baselines))]
    for group in groups:
        gain = group.gain()
        rows.append(
            [
                group.label,
                count(group.summary.parameters),
                _over(
                    number(group.mean(lambda s: s.psnr_mean)), interval_text(group.psnr_interval)
                ),
                _over(
                    signed(float(gain.mean())) if len(gain) else MISSING,
                    interval_text(finite_interval(gain)),
                ),
                *(_difference(group, baseline) for baseline in baselines),
                _over(
                    number(group.mean(lambda s: s.ssim_mean), 3),
                    interval_text(group.ssim_interval, 3),
                ),
                str(len(group.photographs)),
            ]
        )
    seeds = max(len(group.runs) for group in groups)
    caption = "Quality: means over test photographs; below them 95 % bootstrap intervals."
    if seeds > 1:
        caption += f" Methods with several seeds (up to {seeds}): means over the seeds as well."
    if any(not has_interval(group.psnr_interval) for group in groups):
        caption += " Where none stands below, no interval can be given."
    return table(caption, heads, rows)


def cost_table(groups: list[Group]) -> str:
    """Tabulate what each method costs, whether it converged, and what is known of its field."""
    heads = [
        "Method",
        "Steps",
        "Training, s",
        "Recon\u00adstruction, s",
        "Forward evaluations",
        "Adjoint evaluations",
        "Converged",
        "Symmetry defect",
        "α",
        "What can be certified",
    ]
    rows = [
        [
            group.label,
            count(group.mean(lambda s: s.steps)),
            seconds(group.mean(lambda s: s.train_seconds)),
            seconds(group.mean(lambda s: s.reconstruct_seconds)),
            count(group.mean(lambda s: s.forward_evaluations)),
            count(group.mean(lambda s: s.adjoint_evaluations)),
            percent(group.mean(lambda s: s.converged_fraction)),
            defect_text(group),
            significant(group.summary.alpha, 3) + AT_LIMIT * group.summary.alpha_at_limit,
            group.summary.certificate or MISSING,
        ]
        for group in groups
    ]
    caption = (
        "Cost and guarantees. Symmetry defect: estimate and standard error; 0 for a gradient"
        f" field. {MISSING}: not measured or does not apply."
        + LIMIT_WORDS
        * any(group.summary.alpha_at_limit for group in groups)
    )
    return table(caption, heads, rows)


def seed_table(groups: list[Group]) -> str:
    """Tabulate the runs of every seed; empty where no method has several."""
    if all(len(group.runs) == 1 for group in groups):
        return ""
    rows = [_seed_row(run.summary) for group in groups for run in group.runs]
    heads = ["Method", "Seed", "PSNR, dB", "SSIM", "Training, s", "Symmetry defect"]
    return table("Every training seed.", heads, rows)


def photograph_table(groups: list[Group]) -> str:
    """Tabulate every photograph's numbers for the first seed of each method."""
    heads = [
        "Method",
        "Photograph",
        "PSNR, dB",
        "SSIM",
        "Relative residual",
        "Error bound",
        "Evaluations",
        "Status",
    ]
    rows = [
        [
            group.label,
            score.name,
            number(score.psnr),
            number(score.ssim, 4),
            significant(score.residual),
            MISSING if score.error_bound is None else significant(score.error_bound),
            count(score.evaluations),
            score.status,
        ]
        for group in groups
        for score in group.summary.images
    ]
    caption = (
        "Every photograph. Error bound: proved distance to the exact equilibrium, where the"
        f" equation is strongly monotone; {MISSING} elsewhere."
    )
    return table(caption, heads, rows)


def mapping_table(caption: str, heads: tuple[str, str], values: Mapping[str, object]) -> str:
    """Tabulate names and values; nested settings get a dotted name."""
    return table(caption, heads, [[name, value] for name, value in _flatten("", values)])


def defect_text(group: Group) -> str:
    """Write the symmetry defect with its standard error, or an exact 0."""
    value, error = group.defect, group.defect_error
    if value == 0.0:
        return "0"
    text = significant(value)
    return f"{text} ± {significant(error, 1)}" if text != MISSING and error > 0 else text


def _input_row(groups: list[Group], baselines: int) -> list[str]:
    first = groups[0]
    names = first.photographs
    inputs = first.scores(lambda score: score.psnr_input, names)
    similarity = first.scores(lambda score: score.ssim_input, names)
    return [
        "Degraded input",
        MISSING,
        _over(number(first.summary.psnr_input), interval_text(finite_interval(inputs))),
        *[MISSING] * (1 + baselines),
        _over(number(first.summary.ssim_input, 3), interval_text(finite_interval(similarity), 3)),
        str(len(names)),
    ]


def _difference(group: Group, baseline: Group) -> str:
    if group is baseline:
        return MISSING
    difference = paired_difference(group, baseline)
    if difference is None:
        return MISSING
    return _over(signed(difference.mean), interval_text(difference.interval))


def _over(mean: str, interval: str) -> str:
    """Write a mean above its interval."""
    return mean if interval == MISSING else f"{mean}\n{interval}"


def _seed_row(summary: RunSummary) -> list[str]:
    return [
        summary.label,
        str(summary.seed),
        number(summary.psnr_mean),
        number(summary.ssim_mean, 4),
        seconds(summary.train_seconds),
        significant(summary.symmetry_defect),
    ]


def _flatten(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(f"{prefix}{name}.", value)
        elif isinstance(value, str):
            yield prefix + str(name), value
        else:
            yield prefix + str(name), json.dumps(value, ensure_ascii=False, default=str)
