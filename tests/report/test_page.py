"""The page is complete, well formed, self-contained and safe against the names it shows."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from builders import ALL, NAMES, TIED, TV, UNTIED, build_comparison, build_task
from PIL import Image

from equipoise.errors import OutputError, UsageError
from equipoise.report import write_report
from equipoise.report.pages import comparison_page as render

VOID = {"meta", "img", "br"}
ATTACK = "<script>alert('x')</script> & \"quoted\" $x_2$ _a"


class Page(HTMLParser):
    """Checks that tags are balanced and collects what the page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.alternatives: list[str] = []
        self.identifiers: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute of {tag} stands twice"
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.identifiers.append(values["id"] or "")
        if "href" in values:
            self.links.append(values["href"] or "")
        if "src" in values:
            self.sources.append(values["src"] or "")
        if tag == "img":
            self.alternatives.append(values.get("alt") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def whole() -> str:
    return render(build_comparison(build_task(task="denoise"), build_task(task="inpaint", seed=1)))


def test_the_page_is_well_formed(whole: str) -> None:
    page = Page(whole)
    assert {"html", "head", "title", "style", "main", "table", "figure", "details"} <= page.seen
    assert len(set(page.identifiers)) == len(page.identifiers)


def test_nothing_is_fetched(whole: str) -> None:
    page = Page(whole)
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.identifiers for link in page.links)
    assert not {"script", "link", "iframe", "object", "base"} & page.seen
    assert not re.search(r"https?://|url\(|@import|//cdn", whole)


def test_every_picture_decodes_and_has_a_text(whole: str) -> None:
    page = Page(whole)
    assert all(len(text) > 5 for text in page.alternatives)
    for source in page.sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            picture.load()
            assert min(picture.size) > 1


def test_figures_have_twice_the_pixels_of_a_phone(whole: str) -> None:
    gains = re.search(r'<img src="([^"]*)" alt="PSNR gain', whole)
    assert gains is not None
    with Image.open(io.BytesIO(base64.b64decode(gains[1].partition(",")[2]))) as picture:
        assert picture.size[0] == 750


def test_a_strength_at_the_limit_of_its_search_is_marked(whole: str) -> None:
    assert "(limit)" not in Page(whole).text
    task = build_task((TV, TIED))
    for run in task.runs[:1]:
        object.__setattr__(run.summary, "alpha_at_limit", True)
    text = Page(render(build_comparison(task))).text
    assert "0.1 (limit)" in text
    assert "a better one may lie beyond" in text


def test_the_page_says_what_it_must(whole: str) -> None:
    text = Page(whole).text
    for words in (
        "range 1, no clipping, no quantisation",
        "Symmetry defect",
        "What can be certified",
        "convex, modulus 1 (PROVED)",
        "Degraded input",
        "Minus Total variation, dB",
        "equipoise compare --seed 0",
        "solver.m",
        "Total variation was tuned on 4 validation photographs.",
        "Gaussian noise of standard deviation 0.1.",
        "Shown: 4 of 4 photographs",
        "0.31 ± 0.02",
    ):
        assert words in text, words
    assert "nan" not in text.lower().split()
    for kind in ALL:
        assert kind.label in text


def test_each_photograph_is_shown_for_each_method_with_its_error(whole: str) -> None:
    alternatives = Page(whole).alternatives
    for name in NAMES:
        for kind in ALL:
            assert alternatives.count(f"{name}: {kind.label}, absolute error map") == 2
            assert alternatives.count(f"{name}: {kind.label}, enlarged crop") == 2
        assert alternatives.count(f"{name}: truth") == 2


def test_names_cannot_become_markup() -> None:
    rng = np.random.default_rng(0)
    kinds = [replace(k, label=ATTACK + k.label, certificate=ATTACK) for k in (TV, TIED, UNTIED)]
    task = build_task(kinds, task=ATTACK, truths={ATTACK: rng.random((24, 24))})
    task = replace(task, description=ATTACK, notes=[ATTACK])
    comparison = build_comparison(task, settings={ATTACK: ATTACK, "more": [ATTACK]})
    comparison = replace(comparison, command=ATTACK, environment={ATTACK: ATTACK})
    text = render(comparison)
    page = Page(text)
    assert "script" not in page.seen
    assert "<script" not in text
    assert ATTACK in page.text


def test_colour_photographs_and_odd_sizes() -> None:
    truths = {"wide": np.random.default_rng(0).random((9, 400, 3))}
    page = Page(render(build_comparison(build_task((TIED, UNTIED), truths=truths))))
    assert "wide: truth" in page.alternatives


def test_photographs_beyond_the_budget_are_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("equipoise.report.pages._PHOTOGRAPHS", 1)
    page = Page(render(build_comparison(build_task((TIED, UNTIED)))))
    assert "Shown: 1 of 4 photographs" in page.text
    assert not any(text.startswith("coffee: ") for text in page.alternatives)


def test_cells_are_escaped_and_keep_their_lines() -> None:
    text = render(build_comparison(build_task((replace(TIED, certificate="<i>\n2"),))))
    assert "<td>&lt;i&gt;<br>2</td>" in text


def test_several_seeds_share_a_row_and_have_their_own_table() -> None:
    kinds = [replace(kind, seed_shifts=(0.0, 0.1)) for kind in (TIED, UNTIED)]
    text = Page(render(build_comparison(build_task(kinds)))).text
    assert "Every training seed." in text
    assert "means over the seeds" in text


@pytest.mark.parametrize("kinds", [(), (TV,), (TIED,), (UNTIED, TV)])
def test_incomplete_comparisons_still_make_a_page(kinds: tuple) -> None:
    page = Page(render(build_comparison(build_task(kinds))))
    assert "Definitions" in page.text


def test_a_single_photograph_and_missing_numbers() -> None:
    untied = replace(UNTIED, defect=nan, defect_error=nan, train_seconds=nan)
    text = Page(render(build_comparison(build_task((TIED, untied), photographs=1)))).text
    assert "no interval can be given" in text
    assert "nan" not in text.lower()


def test_empty_traces_and_logs_are_left_out() -> None:
    task = build_task((TIED,))
    empty = np.empty(0)
    task.runs[0] = replace(
        task.runs[0], trace=(empty, empty), curve=None, filters=None, potentials=None
    )
    assert "Training and solving" not in render(build_comparison(task))


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    render(build_comparison(build_task((TIED, UNTIED))))
    assert dict(matplotlib.rcParams) == before


def test_the_same_comparison_gives_the_same_page() -> None:
    comparison = build_comparison(build_task((TIED, UNTIED)))
    assert render(comparison) == render(comparison)


def test_the_page_is_written(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(build_comparison(build_task((TIED, UNTIED))), path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Could not write"):
        write_report(build_comparison(build_task((TIED,))), tmp_path / "none" / "report.html")


def test_a_comparison_without_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task"):
        write_report(build_comparison(), tmp_path / "report.html")
