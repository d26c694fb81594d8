"""The plain sentences of the page: what was found, how sure it is, what it cost, and why.

Every sentence follows from the numbers. A difference counts as shown only if its bootstrap
interval over photographs avoids 0 and no training seed contradicts its sign.
"""

from __future__ import annotations

import numpy as np

from equipoise.compare.records import Comparison, TaskResult
from equipoise.report.certainty import Finding, certainty
from equipoise.report.differences import Difference, paired_difference
from equipoise.report.groups import Group, finite_interval, group_runs
from equipoise.report.pairing import Contest, find_contests
from equipoise.report.words import (
    count,
    decimals_for,
    has_interval,
    interval_text,
    number,
    percent,
    photographs,
    seconds,
    signed,
    significant,
    task_noun,
)

#: Ratios of seconds nearer to 1 than this are reported as equal.
SAME_SECONDS = 0.05


def task_findings(task: TaskResult) -> list[Finding]:
    """State what one task shows: quality and its uncertainty first, then cost and reasons."""
    groups = group_runs(task)
    noun = task_noun(task.task)
    if not groups:
        return [Finding("Result", f"On {noun} no method was run.")]
    contests = find_contests(groups)
    best = _best(noun, groups)
    found = [Finding("Best", best)] if best else []
    if contests:
        others = (_capital(_outcome(contest)) for contest in contests[1:])
        quality = " ".join([_quality(noun, contests[0]), *others])
        found += [
            Finding("Result", f"{quality} {_against_baseline(groups, contests)}"),
            Finding("Cost", _cost(contests[0])),
            Finding("Why", f"{_reason(contests)} {_certificates(contests)}"),
        ]
    else:
        text = f"{_no_contest(noun, groups)} {_against_baseline(groups, contests)}"
        found.append(Finding("Result", text))
    unconverged = _unconverged(groups)
    return [*found, Finding("Convergence", unconverged)] if unconverged else found


def overall_findings(comparison: Comparison) -> list[Finding]:
    """State what each task shows, the best method first, count it, and say what it can carry."""
    found = []
    for task in comparison.tasks:
        noun = task_noun(task.task)
        groups = group_runs(task)
        contests = find_contests(groups)
        best = _best(noun, groups)
        if contests:
            best = f"{best} {_capital(_outcome(contests[0]))}"
        found.append(Finding(_capital(noun), best or task_findings(task)[0].text))
    tally = _tally(comparison.tasks) if len(comparison.tasks) > 1 else ""
    if tally:
        found.append(Finding("All tasks", tally))
    return found + certainty(comparison)


def spoken(group: Group) -> str:
    """Name a method within a sentence: "Tied pair, bilevel" becomes "tied pair (bilevel)"."""
    method = group.summary.method
    if method == "tv":
        return "tuned total variation"
    if method == "tikhonov":
        return "tuned Tikhonov regularisation"
    if method == "pretrained":
        return "the pretrained ridge"
    name = group.label.removesuffix(f", {method}").removesuffix(f" ({method})")
    if len(name) > 1 and name[0].isupper() and name[1].islower():
        name = name[0].lower() + name[1:]
    return f"the {name} ({method})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---- quality -----------------------------------------------------------------------------------


def _quality(noun: str, contest: Contest) -> str:
    return f"On {noun} {_outcome(contest)}"


def _best(noun: str, groups: list[Group]) -> str:
    """Name the method with the highest PSNR and the next one; nothing where there are not two."""
    scored = [group for group in groups if np.isfinite(group.mean("psnr_mean"))]
    if len(scored) < 2:
        return ""
    first, second = sorted(scored, key=lambda group: -group.mean("psnr_mean"))[:2]
    a, b = (f"{spoken(g)}, {number(g.mean('psnr_mean'))} dB" for g in (first, second))
    difference = paired_difference(first, second)
    shown = difference is not None and difference.verdict == "better"
    doubt = "" if shown else "; that it is better was not shown"
    return f"On {noun} the best is {a}, then comes {b}{doubt}."


def _outcome(contest: Contest) -> str:
    """State who restores better on what terms, or that no difference was shown."""
    difference = contest.difference
    a, b = spoken(contest.rival), spoken(contest.reference)
    if difference is None:
        return (
            f"{a} cannot be compared with {b}:"
            " they share no test photograph, or a PSNR is not finite."
        )
    mean, spread = difference.mean, _seed_spread(difference)
    if difference.verdict == "single":
        side = "above" if mean > 0 else "below"
        place = f"{number(abs(mean), decimals_for([mean]))} dB {side}" if mean else "level with"
        return (
            f"{a} ends {place} {b} {contest.terms}, on the one test photograph"
            f" '{difference.names[0]}'; a single photograph allows no interval,"
            f" so no difference is shown.{spread}"
        )
    decimals = decimals_for([mean, difference.interval.low, difference.interval.high])
    evidence = (
        f"95 % interval over {photographs(difference.n)}:"
        f" {interval_text(difference.interval, decimals)} dB"
    )
    if difference.verdict == "open":
        return (
            f"no difference between {a} and {b} was shown {contest.terms}:"
            f" the mean difference is {signed(mean, decimals)} dB ({evidence}).{spread}"
        )
    wins = int(np.sum(difference.values * np.sign(mean) > 0))
    return (
        f"{a} restores {number(abs(mean), decimals)} dB {difference.verdict}"
        f" than {b} {contest.terms} ({evidence};"
        f" {difference.verdict} on {wins} of {difference.n}).{spread}"
    )


def _seed_spread(difference: Difference) -> str:
    """Say how the mean difference moves with the training seed; nothing for one seed."""
    if len(difference.by_seed) < 2:
        return ""
    low, high = float(difference.by_seed.min()), float(difference.by_seed.max())
    decimals = decimals_for([low, high])
    ends = signed(low, decimals), signed(high, decimals)
    place = f"is {ends[0]}" if ends[0] == ends[1] else f"lies between {ends[0]} and {ends[1]}"
    sign = ", so its sign depends on the seed" if difference.seeds_disagree else ""
    return f" Over {len(difference.by_seed)} training seeds the mean difference {place} dB{sign}."


def _no_contest(noun: str, groups: list[Group]) -> str:
    best = max(groups, key=_mean_gain)
    gains = best.gain()
    interval = finite_interval(gains)
    evidence = (
        f"95 % interval over {photographs(len(gains))}: {interval_text(interval)} dB"
        if has_interval(interval)
        else f"{photographs(len(gains))}, no interval possible"
    )
    gain = f"{signed(_mean_gain(best))} dB over the degraded input ({evidence})"
    if len(groups) == 1:
        return (
            f"On {noun} only {spoken(best)} was run, so there is nothing to compare it with;"
            f" its mean gain is {gain}."
        )
    modes = {group.summary.method for group in groups}
    missing = " and ".join(mode for mode in ("bilevel", "equilibrium") if mode not in modes)
    return (
        f"On {noun} the two frameworks cannot be compared (no run in mode {missing});"
        f" the largest mean gain is that of {spoken(best)}: {gain}."
    )


def _mean_gain(group: Group) -> float:
    gains = group.gain()
    return float(np.mean(gains)) if len(gains) and np.isfinite(gains).all() else -np.inf


def _tally(tasks: list[TaskResult]) -> str:
    """Count, over tasks, how the contest at equal filters and that at matched parameters ended."""
    lines = []
    contests = [find_contests(group_runs(task)) for task in tasks]
    for title, terms in (
        ("At the same number of filters", "same_filters"),
        ("At matched parameters", "matched"),
    ):
        chosen = [next((c for c in found if getattr(c, terms)), None) for found in contests]
        verdicts = [contest.verdict for contest in chosen if contest is not None]
        if not verdicts:
            continue
        better, worse = verdicts.count("better"), verdicts.count("worse")
        lines.append(
            f"{title} the equilibrium model restores better than the bilevel one on {better} of"
            f" {len(verdicts)} tasks and worse on {worse}; no difference was shown on"
            f" {len(verdicts) - better - worse}."
        )
    return " ".join(lines)


# ---- cost, reason, guarantees ------------------------------------------------------------------


def _cost(contest: Contest) -> str:
    a, b = contest.rival, contest.reference
    training = _ratio(a, b, "train_seconds", "training")
    solving = _ratio(a, b, "reconstruct_seconds", "reconstruction")
    return f"{_capital(spoken(a))} against {spoken(b)}: {training}; {solving}."


def _ratio(rival: Group, reference: Group, name: str, what: str) -> str:
    a, b = rival.mean(name), reference.mean(name)
    if not (0 < a < np.inf and 0 < b < np.inf):
        return f"{what} time was not measured for both"
    pair = f"({seconds(a)} s against {seconds(b)} s)"
    ratio = a / b
    if abs(ratio - 1) <= SAME_SECONDS:
        return f"{what} takes about as long {pair}"
    return f"{what} takes {significant(ratio)} times as long {pair}"


def _reason(contests: list[Contest]) -> str:
    """Set the symmetry defect beside the verdicts, without claiming a cause that is not shown."""
    rival = contests[0].rival
    defect, error = rival.defect, rival.defect_error
    error = error if np.isfinite(error) else 0.0
    if not np.isfinite(defect):
        return (
            f"The symmetry defect of {spoken(rival)} was not measured, so how far its field is"
            " from a gradient is not known."
        )
    spread = f", standard error {significant(error)}" if error > 0 else ""
    text = f"{significant(defect)}{spread}; 0 is a gradient field, 2 a skew one"
    if defect <= max(2 * error, 1e-3):
        return (
            f"The learned field of {spoken(rival)} cannot be told from a gradient field"
            f" (symmetry defect {text}), so it is in effect variational too."
        )
    return (
        f"The learned field of {spoken(rival)} is not a gradient (symmetry defect {text}):"
        f" the antisymmetric part has {percent(defect / 2)} of its Jacobian's Frobenius norm."
        + _interpretation(contests)
    )


def _interpretation(contests: list[Contest]) -> str:
    first, second = contests[0], contests[1] if len(contests) > 1 else None
    if first.verdict == "worse":
        return " Leaving the gradient fields did not help here."
    if first.verdict != "better":
        return " That this freedom helps was not shown here."
    if first.matched:
        return " The parameters match, so their number does not explain the gain."
    if second is None:
        a, b = first.rival.summary, first.reference.summary
        return (
            f" It also has another number of parameters ({count(a.parameters)} against"
            f" {count(b.parameters)}), and this run does not separate the two causes."
        )
    if second.verdict == "better":
        return " The gain remains at matched parameters, so their number alone does not explain it."
    return (
        " At matched parameters no gain was shown, so the larger number of parameters may explain"
        " it as well as the freedom to leave the gradients."
    )


def _certificates(contests: list[Contest]) -> str:
    groups = {group.key: group for c in contests for group in (c.reference, c.rival)}
    parts = [
        f"{spoken(group)}: {group.summary.certificate.strip().rstrip('.') or 'nothing'}"
        for group in groups.values()
    ]
    return f"What can be certified of {'; of '.join(parts)}."


# ---- baselines and convergence -----------------------------------------------------------------


def _against_baseline(groups: list[Group], contests: list[Contest]) -> str:
    by_method = {group.summary.method: group for group in groups}
    baseline = by_method.get("tv") or by_method.get("tikhonov")
    if baseline is None:
        return (
            "No tuned baseline (Tikhonov, total variation) was run, so nothing is said about"
            " the gain over one."
        )
    contenders = [contests[0].reference, contests[0].rival] if contests else []
    contenders = contenders or [group for group in groups if group.trained]
    parts = []
    for group in contenders:
        difference = paired_difference(group, baseline)
        if difference is None:
            continue
        decimals = decimals_for([difference.mean])
        evidence = (
            f"95 % interval {interval_text(difference.interval, decimals)}"
            if has_interval(difference.interval)
            else "one photograph, no interval"
        )
        parts.append(f"{spoken(group)} {signed(difference.mean, decimals)} dB ({evidence})")
    if not parts:
        return f"No learned method can be compared with {spoken(baseline)}."
    return f"Mean difference to {spoken(baseline)}: {'; '.join(parts)}."


def _unconverged(groups: list[Group]) -> str:
    lines = []
    for group in groups:
        share = group.mean("converged_fraction")
        if share < 1.0:
            lines.append(
                f"Only {percent(share)} of the samples of {spoken(group)} converged to the"
                f" tolerance {significant(group.summary.tolerance)}; its other numbers belong to"
                " points that are not equilibria."
            )
    return " ".join(lines)
