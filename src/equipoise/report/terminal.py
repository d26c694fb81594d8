"""The comparison's numbers as tables for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from equipoise.compare.records import Comparison, TaskResult
from equipoise.report.groups import group_runs
from equipoise.report.words import count, interval_text, number, percent, seconds, significant


def print_table(comparison: Comparison, console: Console) -> None:
    """Print one table per task.

    Args:
        comparison: what the main job produced.
        console: where to print.
    """
    for task in comparison.tasks:
        console.print(_table(task))


def _table(task: TaskResult) -> Table:
    table = Table(
        title=Text(f"{task.task}: {task.description} Times in seconds, PSNR in dB."),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("Method", max_width=20, overflow="fold")
    for head in ("Param.", "PSNR", "95 %", "SSIM", "Train", "Solve", "Conv.", "Defect"):
        table.add_column(head, justify="right", no_wrap=True)
    groups = group_runs(task)
    if groups:
        first = groups[0].summary
        similarity = number(first.ssim_input, 3)
        table.add_row("Degraded input", "", number(first.psnr_input), "", similarity)
    for group in groups:
        table.add_row(
            Text(group.label),
            count(group.summary.parameters),
            number(group.mean(lambda s: s.psnr_mean)),
            interval_text(group.psnr_interval, 1).replace(" to ", "–"),
            number(group.mean(lambda s: s.ssim_mean), 3),
            seconds(group.mean(lambda s: s.train_seconds)),
            seconds(group.mean(lambda s: s.reconstruct_seconds)),
            percent(group.mean(lambda s: s.converged_fraction)),
            significant(group.defect),
        )
    return table
