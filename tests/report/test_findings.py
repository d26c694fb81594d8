"""The sentences say what the numbers show, and no more."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from builders import (
    HALF,
    RIDGE,
    TIED,
    TIKHONOV,
    TV,
    UNTIED,
    Kind,
    build_comparison,
    build_task,
)

from equipoise.compare.bootstrap import paired_interval
from equipoise.report.certainty import Finding
from equipoise.report.findings import overall_findings, spoken, task_findings
from equipoise.report.groups import group_runs
from equipoise.report.pairing import find_contests


def _texts(*kinds: Kind, photographs: int = 4, task: str = "denoise") -> dict[str, str]:
    built = build_task(kinds, photographs=photographs, task=task, size=8)
    return _by_topic(task_findings(built))


def _by_topic(findings: list[Finding]) -> dict[str, str]:
    return {finding.topic: finding.text for finding in findings}


def _shifted(kind: Kind, *differences: float) -> Kind:
    return replace(kind, gains=tuple(g + d for g, d in zip(TIED.gains, differences, strict=True)))


BETTER = _shifted(UNTIED, 0.1, 0.15, 0.06, 0.2)
OPEN = _shifted(UNTIED, -0.1, 0.1, -0.05, 0.2)
WORSE = _shifted(UNTIED, -0.1, -0.15, -0.05, -0.2)


def test_a_clear_gain_is_stated_with_its_interval_and_n() -> None:
    text = _texts(TIED, BETTER)["Result"]
    interval = paired_interval(np.array([0.1, 0.15, 0.06, 0.2]), np.zeros(4))
    assert text.startswith(
        "On denoising the untied pair (equilibrium) restores 0.13 dB better than the tied pair"
        " (bilevel) at the same number of filters (8) (95 % interval over 4 photographs:"
        f" {interval.low:.2f} to {interval.high:.2f} dB; better on 4 of 4)."
    )


def test_a_clear_loss_is_stated_as_one() -> None:
    texts = _texts(TIED, WORSE, task="deblur")
    assert texts["Result"].startswith("On deconvolution the untied pair (equilibrium) restores")
    assert "dB worse than the tied pair (bilevel)" in texts["Result"]
    assert "worse on 4 of 4" in texts["Result"]
    assert "did not help" in texts["Why"]


def test_an_interval_that_contains_zero_shows_no_difference() -> None:
    texts = _texts(TIED, OPEN)
    assert texts["Result"].startswith(
        "On denoising no difference between the untied pair (equilibrium) and the tied pair"
        " (bilevel) was shown at the same number of filters (8): the mean difference is"
        " +0.04 dB (95 % interval over 4 photographs: −0.0"
    )
    assert "better than the tied" not in texts["Result"]
    assert "was not shown" in texts["Why"]


def test_equal_reconstructions_show_no_difference() -> None:
    text = _texts(TIED, _shifted(UNTIED, 0, 0, 0, 0))["Result"]
    assert "no difference" in text
    assert "0.00 to 0.00 dB" in text


def test_a_tiny_difference_is_not_printed_as_zero() -> None:
    text = _texts(TIED, _shifted(UNTIED, 0.002, 0.003, 0.003, 0.003))["Result"]
    assert "restores 0.003 dB better" in text


def test_one_photograph_allows_no_interval() -> None:
    text = _texts(TIED, BETTER, TV, photographs=1)["Result"]
    assert "0.10 dB above the tied pair" in text
    assert "'camera'; a single photograph allows no interval" in text
    assert "95 % interval" not in text
    assert "one photograph, no interval" in text


def test_matched_parameters_are_a_sentence_of_their_own() -> None:
    half = _shifted(HALF, 0.1, -0.1, 0.05, -0.04)
    texts = _texts(TIED, BETTER, half)
    assert "No difference between the untied pair at half width (equilibrium)" in texts["Result"]
    assert "at matched parameters (404 against 416)" in texts["Result"]
    assert "larger number of parameters may explain it" in texts["Why"]


def test_a_gain_that_remains_at_matched_parameters_is_not_explained_by_them() -> None:
    half = _shifted(HALF, 0.1, 0.1, 0.05, 0.04)
    assert "number alone does not explain it" in _texts(TIED, BETTER, half)["Why"]


def test_without_a_matched_rival_the_two_causes_are_not_separated() -> None:
    assert "(808 against 416), and this run does not separate" in _texts(TIED, BETTER)["Why"]


def test_one_rival_can_meet_both_terms() -> None:
    twin = replace(BETTER, parameters=416)
    groups = group_runs(build_task((TIED, twin), size=8))
    (contest,) = find_contests(groups)
    assert contest.matched
    assert "same number of filters (8) and matched parameters" in contest.terms
    assert "parameters match" in _texts(TIED, twin)["Why"]


def test_the_tied_pair_is_the_reference_even_if_another_bilevel_run_comes_first() -> None:
    contests = find_contests(group_runs(build_task((RIDGE, TIED, HALF, UNTIED), size=8)))
    assert [c.reference.label for c in contests] == [TIED.label, TIED.label]
    assert [c.rival.label for c in contests] == [UNTIED.label, HALF.label]


def test_a_rival_that_matches_nothing_is_compared_with_both_sizes_named() -> None:
    odd = replace(BETTER, filters=3, parameters=10_000)
    assert "with 10,000 against 416 parameters" in _texts(TIED, odd)["Result"]


def test_seeds_give_a_spread() -> None:
    tied = replace(TIED, seed_shifts=(0.0, 0.0, 0.0))
    untied = replace(BETTER, seed_shifts=(0.0, 0.05, -0.03))
    text = _texts(tied, untied)["Result"]
    assert "better on 4 of 4" in text
    assert "Over 3 training seeds the mean difference lies between +0.10 and +0.18 dB." in text


def test_seeds_that_disagree_overrule_the_interval() -> None:
    tied = replace(TIED, seed_shifts=(0.0, 0.0))
    untied = replace(_shifted(UNTIED, 0.1, 0.1, 0.1, 0.1), seed_shifts=(0.1, -0.15))
    text = _texts(tied, untied)["Result"]
    assert "no difference between" in text
    assert "between −0.05 and +0.20 dB, so its sign depends on the seed" in text


def test_rounding_is_not_taken_for_a_disagreement_of_seeds() -> None:
    shifts = (0.0, 0.05, -0.04)
    same = replace(_shifted(UNTIED, 0, 0, 0, 0), seed_shifts=shifts)
    text = _texts(replace(TIED, seed_shifts=shifts), same)["Result"]
    assert "Over 3 training seeds the mean difference is 0.00 dB." in text


def test_cost_is_a_ratio_of_seconds() -> None:
    assert _texts(TIED, BETTER)["Cost"] == (
        "The untied pair (equilibrium) against the tied pair (bilevel): training takes 1.8 times"
        " as long (36 s against 20 s); reconstruction takes 2 times as long (2 s against 1 s)."
    )


def test_equal_and_missing_seconds_are_said_so() -> None:
    text = _texts(TIED, replace(BETTER, train_seconds=20.5, solve_seconds=nan))["Cost"]
    assert "training takes about as long (20 s against 20 s)" in text
    assert "reconstruction time was not measured for both" in text


def test_the_symmetry_defect_is_explained() -> None:
    text = _texts(TIED, BETTER)["Why"]
    assert "is not a gradient (symmetry defect 0.31, standard error 0.02; 0 is a gradient" in text
    assert "15.5 % of its Jacobian's Frobenius norm" in text
    assert "of the tied pair (bilevel): convex, modulus 1 (PROVED)" in text


def test_a_defect_within_its_error_is_no_departure_from_gradients() -> None:
    text = _texts(TIED, replace(BETTER, defect=0.03, defect_error=0.02))["Why"]
    assert "cannot be told from a gradient field" in text


def test_a_missing_defect_is_said_so() -> None:
    text = _texts(TIED, replace(BETTER, defect=nan, defect_error=nan))["Why"]
    assert "was not measured" in text
    assert "nan" not in text


def test_baselines_are_compared_or_said_to_be_missing() -> None:
    text = _texts(TIED, BETTER, TV)["Result"]
    assert "Mean difference to tuned total variation: the tied pair (bilevel) +0.80 dB" in text
    assert "No tuned baseline" in _texts(TIED, BETTER)["Result"]
    assert "tuned Tikhonov regularisation" in _texts(TIED, BETTER, TIKHONOV)["Result"]


def test_a_single_method_has_nothing_to_be_compared_with() -> None:
    texts = _texts(TIED)
    assert set(texts) == {"Result"}
    assert (
        "only the tied pair (bilevel) was run, so there is nothing to compare it with"
        in (texts["Result"])
    )
    assert "its mean gain is +7.75 dB over the degraded input" in texts["Result"]


def test_a_missing_framework_is_named() -> None:
    text = _texts(TIED, TV)["Result"]
    assert "cannot be compared (no run in mode equilibrium)" in text
    assert "largest mean gain is that of the tied pair (bilevel): +7.75 dB" in text
    assert "no run in mode bilevel and equilibrium" in _texts(TIKHONOV, TV)["Result"]


def test_no_method_at_all() -> None:
    assert task_findings(build_task((), size=8)) == [
        Finding("Result", "On denoising no method was run.")
    ]


def test_scores_that_are_not_finite_are_not_compared() -> None:
    bad = build_task((TIED, UNTIED), size=8)
    run = bad.runs[1]
    first = run.summary.images[0].model_copy(update={"psnr": nan})
    summary = run.summary.model_copy(update={"images": [first, *run.summary.images[1:]]})
    bad.runs[1] = replace(run, summary=summary)
    assert "a PSNR is not finite" in task_findings(bad)[1].text


def test_samples_that_did_not_converge_are_reported() -> None:
    texts = _texts(TIED, replace(BETTER, converged=0.75))
    assert "Only 75.0 % of the samples of the untied pair (equilibrium)" in texts["Convergence"]
    assert "Convergence" not in _texts(TIED, BETTER)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Tied pair, bilevel", "the tied pair (bilevel)"),
        ("CRR (bilevel)", "the CRR (bilevel)"),
        ("crr", "the crr (bilevel)"),
    ],
)
def test_labels_within_a_sentence(label: str, expected: str) -> None:
    (group,) = group_runs(build_task((replace(TIED, label=label),), size=8))
    assert spoken(group) == expected


def test_the_summary_counts_tasks_and_names_the_few_photographs() -> None:
    tasks = [
        build_task((TIED, kind), task=name, size=8)
        for name, kind in (("denoise", BETTER), ("inpaint", OPEN), ("deblur", WORSE))
    ]
    texts = _by_topic(overall_findings(build_comparison(*tasks)))
    assert (
        "better than the bilevel one on 1 of 3 tasks and worse on 1; no difference was shown"
        in (texts["All tasks"])
    )
    assert {"Denoising", "Inpainting", "Deconvolution"} < set(texts)
    assert "4 photographs, which is few" in texts["Photographs"]
    assert "p-value of 0.125" in texts["Photographs"]
    assert "one seed" in texts["Seeds"]


def test_the_summary_of_one_photograph_gives_no_interval() -> None:
    texts = _by_topic(
        overall_findings(build_comparison(build_task((TIED, BETTER), photographs=1, size=8)))
    )
    assert "no interval over photographs is possible" in texts["Photographs"]
    assert "All tasks" not in texts


def test_the_summary_says_how_many_seeds() -> None:
    kinds = [replace(kind, seed_shifts=(0.0, 0.1, 0.2)) for kind in (TIED, BETTER)]
    texts = _by_topic(overall_findings(build_comparison(build_task(kinds, size=8))))
    assert "up to 3 seeds" in texts["Seeds"]


def test_the_best_method_is_named_before_anything_else() -> None:
    best = task_findings(build_task((TIED, BETTER, TV), size=8))[0]
    assert best.topic == "Best"
    assert best.text.startswith("On denoising the best is the untied pair (equilibrium), ")
    assert "then comes the tied pair (bilevel), " in best.text
    assert "not shown" not in best.text
    open_ = task_findings(build_task((TIED, OPEN), size=8))[0].text
    assert open_.endswith("; that it is better was not shown.")
    assert task_findings(build_task((TIED,), size=8))[0].topic == "Result"
    first = overall_findings(build_comparison(build_task((TIED, BETTER), size=8)))[0]
    assert first.text.startswith("On denoising the best is")
