"""Draw the overview figure and fill the README's results from ``results/compare/summary.json``.

Run after ``make compare``: python docs/make_figure.py [SUMMARY]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from equipoise.compare.records import Interval
from equipoise.report.words import (
    count,
    interval_text,
    number,
    percent,
    seconds,
    significant,
    task_noun,
)

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
#: Colours of Okabe and Ito with a marker each, so that colour is never needed.
STYLES = {
    "tikhonov": ("#6E6E6E", "v"),
    "tv": ("#111111", "X"),
    "bilevel": ("#0072B2", "o"),
    "equilibrium": ("#D55E00", "s"),
    "jacobian-free": ("#009E73", "^"),
    "unrolled": ("#CC79A7", "D"),
    "source-condition": ("#5D3A9B", "P"),
    "pretrained": ("#B8860B", "*"),
}
#: Inches and pixels per inch: 750 pixels across, two for each CSS pixel of a narrow phone.
WIDTH, ROW, DENSITY = 3.75, 0.27, 200

Run = dict[str, Any]


def main(summary: Path, readme: Path, image: Path) -> None:
    """Write the figure and replace what stands between the README's two markers.

    Args:
        summary: what the comparison wrote.
        readme: file with the two markers.
        image: PNG file to write, in a folder beside the README.
    """
    content = json.loads(summary.read_text(encoding="utf-8"))
    tasks = grouped(content["runs"])
    image.parent.mkdir(parents=True, exist_ok=True)
    draw(tasks, image)
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    block = results(content, tasks, image.relative_to(readme.parent).as_posix())
    readme.write_text(f"{before}{BEGIN}\n{block}\n{END}{after}", encoding="utf-8")


def grouped(runs: Iterable[Run]) -> dict[str, list[list[Run]]]:
    """Task -> methods in their order -> the runs of one method, a seed each."""
    tasks: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        tasks.setdefault(run["task"], {}).setdefault(run["label"], []).append(run)
    return {task: list(methods.values()) for task, methods in tasks.items()}


def mean(runs: list[Run], key: str) -> float:
    """Average over the seeds; JSON's null is NaN, infinity stands there as text."""
    return fmean(math.nan if run[key] is None else float(run[key]) for run in runs)


def interval(runs: list[Run]) -> Interval:
    """Bootstrap interval over photographs, its ends averaged over the seeds."""
    ends = {
        end: fmean(
            math.nan if run["psnr_interval"][end] is None else run["psnr_interval"][end]
            for run in runs
        )
        for end in ("low", "high")
    }
    return Interval(**ends)


def draw(tasks: dict[str, list[list[Run]]], path: Path) -> None:
    """Draw PSNR per task and method: mean, interval, and the degraded input as a line."""
    rows = [len(methods) for methods in tasks.values()]
    settings = {"font.family": "DejaVu Sans", "font.size": 8.5, "axes.titlesize": 9.5}
    with rc_context(settings):
        height = sum(0.75 + ROW * count for count in rows)
        figure = Figure(figsize=(WIDTH, height), dpi=DENSITY, layout="constrained")
        panels = figure.subplots(
            len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": [1 + n for n in rows]}
        )
        for axes, (task, methods) in zip(panels[:, 0], tasks.items(), strict=True):
            _panel(axes, task, methods)
        figure.supxlabel("mean PSNR in dB; dotted: degraded input", fontsize=8.5)
        FigureCanvasAgg(figure).print_png(path)


def _panel(axes: Axes, task: str, methods: list[list[Run]]) -> None:
    for row, runs in enumerate(methods):
        colour, marker = STYLES[runs[0]["method"]]
        centre, ends = mean(runs, "psnr_mean"), interval(runs)
        axes.plot([ends.low, ends.high], [row, row], color=colour, linewidth=2.0)
        axes.plot([centre], [row], color=colour, marker=marker, markersize=6, linestyle="none")
        axes.annotate(
            number(centre), (centre, row), xytext=(0, 4), textcoords="offset points", ha="center",
            fontsize=7.5,
        )  # fmt: skip
    axes.axvline(mean(methods[0], "psnr_input"), color="#555555", linewidth=1.0, linestyle=":")
    axes.set_yticks(range(len(methods)), [_two_lines(runs[0]["label"]) for runs in methods])
    axes.set_ylim(len(methods) - 0.5, -0.8)
    axes.margins(x=0.08)
    axes.set_title(task_noun(task).capitalize(), loc="left")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _two_lines(label: str) -> str:
    return label if len(label) <= 22 else label.replace(", ", ",\n", 1)


def results(content: dict[str, Any], tasks: dict[str, list[list[Run]]], image: str) -> str:
    """The README's section: the figure, a table per task, and where the numbers come from."""
    lines = [
        f"![Mean PSNR of the test photographs for each task and method, with intervals]({image})"
    ]
    for task, methods in tasks.items():
        first = methods[0][0]
        lines += [
            "",
            f"**{task_noun(task).capitalize()}**, n = {len(first['images'])} photographs, degraded "
            f"input {number(mean(methods[0], 'psnr_input'))} dB:",
            "",
            "| method | parameters | PSNR in dB | 95 % interval | SSIM | training in s "
            "| converged | symmetry defect |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            *(_line(runs) for runs in methods),
        ]
    seeds = sorted({run["seed"] for methods in tasks.values() for runs in methods for run in runs})
    environment = ", ".join(f"{key} {value}" for key, value in content["environment"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Written by `docs/make_figure.py` from the run `{content['command']}`, "
            f"training seed {', '.join(map(str, seeds))}, "
            f"which took {seconds(content['seconds'])} s. "
            f"Environment: {environment}.",
        ]
    )


def _line(runs: list[Run]) -> str:
    cells = [
        runs[0]["label"],
        count(runs[0]["parameters"]),
        number(mean(runs, "psnr_mean")),
        interval_text(interval(runs)),
        number(mean(runs, "ssim_mean"), 3),
        seconds(mean(runs, "train_seconds")),
        percent(mean(runs, "converged_fraction")),
        significant(mean(runs, "symmetry_defect")),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "summary", nargs="?", type=Path, default=ROOT / "results" / "compare" / "summary.json"
    )
    main(parser.parse_args().summary, ROOT / "README.md", ROOT / "docs" / "images" / "compare.png")
