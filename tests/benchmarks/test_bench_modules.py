"""Evaluation, growth and memory on tiny sizes: what their tables say and that they can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from bench_data import example_record, need_data
from PIL import Image

from benchmarks import evaluation, plots
from benchmarks.instances import Weights, photographs
from benchmarks.rates import Rates
from benchmarks.straightforward import flops

RATES = Rates(contiguous=1e9, channels_last=2e9, matrix=1e9, matrix_tf32=None, bandwidth=1e9)


@pytest.mark.parametrize("weights", get_args(Weights))
def test_a_table_of_evaluations(weights: Weights) -> None:
    need_data()
    truth = photographs("set12", 1, 48)[0][None]
    table = evaluation._measure(weights, truth, RATES, 1, "tiny")
    cells = {row.label: row.values for row in table.rows}
    assert cells[evaluation.EVALUATION]["relative"] == 1.0
    for label, values in cells.items():
        if evaluation.COMPILED.get(label, label) not in evaluation.WITHOUT_VALUE:
            assert 0 < float(values["error"] or 0) < 1e-5, label
            rate = flops(evaluation.WIDTHS, evaluation.KERNEL, 48 * 48) / float(values["ms"] or 0)
            assert values["gflops"] == pytest.approx(rate / 1e6)
            assert values["share"] == pytest.approx(100 * rate * 1e3 / 2e9)
    findings = evaluation._findings(table, weights, "tiny", RATES)
    assert len(findings) == 4
    assert all("required" in finding for finding in findings)


def test_other_regularisers_have_the_operations_that_they_can() -> None:
    need_data()
    table = evaluation._others(photographs("set12", 1, 32)[0][None], 1)
    for row in table.rows:
        potential = row.label.split(",")[0] in ("tied-conv", "fields-of-experts")
        assert (evaluation.EVALUATION in row.values) == potential
        assert float(row.values["relative"] or 0) > 0


def test_figures_are_drawn_where_values_are_missing(tmp_path: Path) -> None:
    bars = [plots.Bar("a", 2.0), plots.Bar("b", None, "not reached: 0.2", 1), plots.Bar("c", 30.0)]
    curves = [plots.Curve("k", (1, 10), (1.0, None)), plots.Curve("l", (1, 10), (2.0, 500.0))]
    path = tmp_path / "new" / "figure.png"
    plots.save(
        [
            plots.Bars("bars", "ms", bars, [(4.0, "limit")]),
            plots.Lines("lines", "side", "ms", curves, [(1, "1"), (10, "10")]),
            plots.Lines("linear", "side", "ms", curves, log_y=False),
        ],
        path,
    )
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape[1] == int(plots.WIDTH * 200)
    blue = (np.abs(pixels.astype(int) - (0, 114, 178)).sum(2) < 12).sum()
    assert blue > 500  # the bar of group 0


def test_the_figure_of_the_evaluation_takes_its_limit_from_the_record(tmp_path: Path) -> None:
    need_data()
    truth = photographs("set12", 1, 32)[0][None]
    tables = [
        evaluation._rates_table(RATES, "tiny", 32 * 32),
        evaluation._measure("crr", truth, RATES, 1, "tiny"),
    ]
    floor = {row.label: row.values for row in tables[0].rows}[evaluation._FLOOR]["ms"]
    assert floor == pytest.approx(1e3 * flops(evaluation.WIDTHS, evaluation.KERNEL, 1024) / 2e9)
    record = example_record("evaluation")
    evaluation.plot(type(record)(**{**vars(record), "tables": tables}), tmp_path / "e.png")
    with Image.open(tmp_path / "e.png") as picture:
        assert picture.size[0] == int(plots.WIDTH * 200)
