"""One task's part of the page."""

from __future__ import annotations

from equipoise.compare.records import TaskResult
from equipoise.report.certified import certificate_notes, certified_table
from equipoise.report.figures_curves import (
    draw_losses,
    draw_potentials,
    draw_residuals,
    draw_validation,
)
from equipoise.report.figures_intervals import draw_differences
from equipoise.report.findings import task_findings
from equipoise.report.gallery import gallery
from equipoise.report.groups import Group, group_runs
from equipoise.report.markup import (
    details,
    escape,
    figure,
    figures,
    findings,
    prose,
    sentences,
)
from equipoise.report.pairing import find_reference
from equipoise.report.pictures import FILTERS_SHOWN, filter_sheet
from equipoise.report.style import Styles
from equipoise.report.tables import cost_table, photograph_table, quality_table, seed_table
from equipoise.report.words import number, signed, significant, task_noun


def task_section(task: TaskResult, anchor: str, styles: Styles, budget: int) -> str:
    """Write the part of the page that shows one task.

    Args:
        task: its results.
        anchor: identifier of the section in the page.
        styles: how each method is drawn.
        budget: characters of HTML that its photographs may use.
    """
    groups = group_runs(task)
    noun = task_noun(task.task)
    parts = [
        f'<section id="{escape(anchor)}"><h2>{escape(noun[:1].upper() + noun[1:])}</h2>',
        f"<p>{prose(task.description)}</p>",
        findings(task_findings(task)),
    ]
    if groups:
        parts += [
            "<h3>Numbers</h3>",
            quality_table(groups),
            f'<div class="cost">{cost_table(groups)}</div>',
            seed_table(groups),
            certified_table(groups),
        ]
        if task.notes or task.failures:
            parts.append(sentences([*task.failures, *task.notes]))
        notes = certificate_notes(groups)
        if notes:
            parts.append(details("What is not certified, and what would mend it", notes))
        parts.append(details("Every photograph's numbers", photograph_table(groups)))
        parts += [_differences(groups, styles), "<h3>Reconstructions</h3>"]
        parts += [gallery(task, groups, budget), _curves(groups, styles), _learned(groups, styles)]
    return "".join(parts) + "</section>"


def _differences(groups: list[Group], styles: Styles) -> str:
    reference = find_reference(groups)
    others = [group for group in groups if group is not reference]
    if reference is None or not others:
        return ""
    items = []
    for what, chosen in (
        ("learned methods", [group for group in others if group.trained]),
        ("tuned baselines", [group for group in others if not group.trained]),
    ):
        if chosen:
            address = draw_differences(reference, chosen, styles)
            alt = f"Paired PSNR differences to {reference.label} for {_labels(chosen)}"
            items.append(figure(address, alt, f"{reference.label} against {what}."))
    note = (
        f"PSNR of each method minus that of {reference.label}, photograph by photograph. Open"
        " dots: photographs; filled marker: mean; bar: 95 % bootstrap interval of the mean. An"
        " interval that contains 0 shows no difference."
    )
    return f"<h3>Photograph by photograph</h3><p>{prose(note)}</p>" + figures(items)


def _curves(groups: list[Group], styles: Styles) -> str:
    trained = [g for g in groups if any(run.curve is not None for run in g.runs)]
    items = []
    if trained:
        alt = f"Training loss against training seconds for {_labels(trained)}"
        caption = "Training loss (running mean over 5 % of the log) against training time."
        items.append(figure(draw_losses(trained, styles), alt, caption))
        last = ", ".join(f"{g.label} {number(_last_psnr(g))} dB" for g in trained)
        alt = f"Validation PSNR against training seconds; at the end {last}"
        caption = "PSNR on the validation photographs against training time."
        items.append(figure(draw_validation(trained, styles), alt, caption))
    traced = [g for g in groups if len(g.runs[0].trace[0])]
    if traced:
        last = ", ".join(f"{g.label} {significant(float(g.runs[0].trace[1][-1]))}" for g in traced)
        caption = (
            "Relative residual of the first test photograph against evaluations; dashed: the"
            " tolerance."
        )
        alt = f"Relative residual against evaluations; at the end {last}"
        items.append(figure(draw_residuals(traced, styles), alt, caption))
    return "<h3>Training and solving</h3>" + figures(items) if items else ""


def _learned(groups: list[Group], styles: Styles) -> str:
    stacks = []
    for group in groups:
        run, items = group.runs[0], []
        if run.filters is not None and len(run.filters):
            items.append(_filters(group))
        if run.potentials is not None and len(run.potentials[1]):
            curves = run.potentials[1]
            low, high = signed(float(curves.min())), signed(float(curves.max()))
            alt = f"{len(curves)} learned profile functions of {group.label}, {low} to {high}"
            caption = (
                f"{group.label}: learned profile functions (the potential where the field is a"
                " gradient, the activation otherwise)."
            )
            items.append(figure(draw_potentials(group, styles), alt, caption))
        if items:
            stacks.append(f'<div class="stack">{"".join(items)}</div>')
    return "<h3>What was learned</h3>" + figures(stacks) if stacks else ""


def _filters(group: Group) -> str:
    filters, synthesis = group.runs[0].filters, group.runs[0].synthesis_filters
    assert filters is not None
    shown = min(len(filters), FILTERS_SHOWN)
    what = f"{shown} of {len(filters)} filters" if shown < len(filters) else f"{shown} filters"
    if synthesis is None:
        caption = f"{group.label}: {what}, strongest first, each on its own gray scale."
    else:
        caption = (
            f"{group.label}: {what}, strongest first; in each pair W1 left and W2 right on one"
            " gray scale, so a tied pair would show twice the same."
        )
    return figure(filter_sheet(filters, synthesis), f"Learned filters of {group.label}", caption)


def _labels(groups: list[Group]) -> str:
    return ", ".join(group.label for group in groups)


def _last_psnr(group: Group) -> float:
    curve = group.runs[0].curve
    measured = [] if curve is None else [float(v) for v in curve.psnr if v == v]
    return measured[-1] if measured else float("nan")
