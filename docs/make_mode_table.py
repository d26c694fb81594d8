"""Fill the comparison of training modes in docs/learning.md from ``results/modes``.

Run after ``make modes``: python docs/make_mode_table.py [FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from equipoise.report.words import MISSING, number, percent, seconds, significant, task_noun

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- modes:begin -->", "<!-- modes:end -->"
TASKS = ("denoise", "inpaint", "deblur", "tomography")

Run = dict[str, Any]


def main(folder: Path, page: Path) -> None:
    """Replace what stands between the page's two markers.

    Args:
        folder: holds one folder a comparison, each with its ``summary.json``.
        page: file with the two markers.
    """
    contents = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/summary.json"))
    ]
    if not contents:
        raise SystemExit(f"No summary.json below {folder}: run make modes first.")
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{block(contents)}\n{END}{after}", encoding="utf-8")


def block(contents: list[dict[str, Any]]) -> str:
    """One table a task: every mode, at each time budget.

    Args:
        contents: the comparisons' summaries.
    """
    budgets = sorted({float(content["settings"]["time_budget"]) for content in contents})
    lines: list[str] = []
    for task in TASKS:
        rows: dict[tuple[str, str], dict[float, Run]] = {}
        for content in contents:
            for run in content["runs"]:
                if run["task"] == task:
                    budget = float(content["settings"]["time_budget"])
                    key = (run["label"].partition(",")[0], run["method"])
                    rows.setdefault(key, {})[budget] = {**run, "crop": content["settings"]["crop"]}
        if rows:
            lines += _table(task, rows, budgets)
    first = contents[0]
    environment = ", ".join(f"{key} {value}" for key, value in first["environment"].items())
    return "\n".join(
        [
            *lines,
            f"Written by `docs/make_mode_table.py` from `make modes`, seed "
            f"{first['settings']['seed']}, one thread for each comparison. "
            f"Environment: {environment}.",
        ]
    )


Rows = dict[tuple[str, str], dict[float, Run]]


def _table(task: str, rows: Rows, budgets: list[float]) -> list[str]:
    any_run = next(iter(next(iter(rows.values())).values()))
    times = " | ".join(f"PSNR after {seconds(budget)} s" for budget in budgets)
    return [
        f"**{task_noun(task).capitalize()}**, n = {len(any_run['images'])} photographs, degraded "
        f"input {number(any_run['psnr_input'])} dB:",
        "",
        f"| regulariser | mode | {times} | steps | converged | m | stability | PSNR at most |",
        f"| --- | --- |{' ---: |' * len(budgets)} ---: | ---: | ---: | ---: | ---: |",
        *(_row(key, runs, budgets) for key, runs in rows.items()),
        "",
    ]


def _row(key: tuple[str, str], runs: dict[float, Run], budgets: list[float]) -> str:
    last = runs[max(runs)]
    stated = {s["name"]: s for s in last["certificates"] if s["holds"]}
    cells = [
        *key,
        *(number(runs[b]["psnr_mean"]) if b in runs else MISSING for b in budgets),
        " / ".join(str(runs[b]["steps"]) for b in budgets if b in runs),
        percent(last["converged_fraction"]),
        _number(stated.get("strong_monotonicity")),
        _number(stated.get("stability_norm")),
        _ceiling(stated.get("error_floor"), last),
    ]
    return f"| {' | '.join(cells)} |"


def _number(statement: dict[str, Any] | None) -> str:
    return MISSING if statement is None else significant(float(statement["value"]))


def _ceiling(statement: dict[str, Any] | None, run: Run) -> str:
    """The error floor of the first photograph as the PSNR that no alpha and no noise exceeds."""
    if statement is None:
        return MISSING
    floor = float(statement["value"])
    if floor <= 0:
        return "no limit"
    mark = "" if statement["kind"] == "PROVED" else " (est.)"
    return number(20.0 * math.log10(run["crop"] / floor)) + mark


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "results" / "modes")
    main(parser.parse_args().folder, ROOT / "docs" / "learning.md")
