"""Whole comparisons on tiny images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from scenery import scene
from typer.testing import CliRunner

from equipoise.cli.app import app
from equipoise.compare import CompareSettings, Comparison, RunSummary, run_comparison
from equipoise.compare import run as run_module
from equipoise.errors import ConvergenceError, EquipoiseError, InputError, UsageError
from equipoise.learn import Progress, Validation
from equipoise.settings.task import Task
from equipoise.shipped import DEFAULT

#: What an entry of ``runs`` in summary.json must have.
REQUIRED = {
    "task",
    "method",
    "regularizer",
    "parameters",
    "psnr_mean",
    "psnr_input",
    "ssim_mean",
    "train_seconds",
    "reconstruct_seconds",
    "converged_fraction",
    "symmetry_defect",
    "seed",
}
TIMES = {"train_seconds", "reconstruct_seconds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five gray images: three to train, one to validate, one to test."""
    place = tmp_path_factory.mktemp("images")
    for k in range(5):
        values = np.rint(255 * scene(36, 10 + k)[0].numpy()).astype(np.uint8)
        PIL.Image.fromarray(values).save(place / f"scene{k}.png")
    return place


@pytest.fixture(scope="module", autouse=True)
def same_threads() -> Iterator[None]:
    """One thread, so that numbers agree whatever else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(**changes: Any) -> CompareSettings:
    usual: dict[str, Any] = {
        "tasks": (Task(name="denoise"),),
        "methods": ("bilevel", "equilibrium"),
        "regularizers": ("tied-conv", "untied-conv-half"),
        "steps": 3,
        "patch_size": 16,
        "patches": 2,
        "batch_size": 2,
        "crop": 32,
        "validation_crop": 32,
        "tolerance": 1e-3,
    }
    return CompareSettings(**{**usual, **changes})


def numbers(comparison: Comparison) -> list[dict[str, Any]]:
    """All summaries without times."""
    return [run.summary.model_dump(exclude=TIMES) for task in comparison.tasks for run in task.runs]


def test_an_operator_of_float32_alone_is_refused_before_anything_is_learned(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "from deepinv.physics import LinearPhysics\n"
        "matrix = torch.eye(32)\n"
        "def mirror(shape):\n"
        "    n = shape[-1]\n"
        "    A = lambda x, **_: x.flip(-1) @ matrix[:n, :n]\n"
        "    return LinearPhysics(A=A, img_size=shape)\n"
    )
    watch = Witness()
    changes = {
        "tasks": (Task(name="physics", physics=f"{file}:mirror"),),
        "methods": ("bilevel", "tv"),
    }
    settings = tiny(data=str(folder), regularizers=("tied-conv",), **changes)
    with pytest.raises(InputError, match="hold its tensors as attributes"):
        run_comparison(settings, observer=watch)
    assert watch.told == []


class Witness:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def noted(self, words: str) -> None:
        self.told.append(("noted", words))

    def started(self, task: str, label: str, steps: int) -> None:
        self.told.append(("started", task, label, steps))

    def advanced(self, progress: Progress) -> None:
        self.told.append(("advanced", progress.step))

    def finished(self, summary: RunSummary) -> None:
        self.told.append(("finished", summary.label))


@pytest.fixture(scope="module")
def both_baselines_and_frameworks(folder: Path) -> tuple[Comparison, Witness]:
    witness = Witness()
    settings = tiny(
        data=str(folder),
        methods=("tikhonov", "tv", "bilevel", "equilibrium"),
        seeds=2,
        steps=2,
        regularizers=("tied-conv",),
    )
    return run_comparison(settings, observer=witness), witness


def test_a_folder_gives_complete_summaries(
    both_baselines_and_frameworks: tuple[Comparison, Witness],
) -> None:
    comparison, _ = both_baselines_and_frameworks
    (task,) = comparison.tasks
    found = [(run.summary.method, run.summary.seed) for run in task.runs]
    assert found == [
        ("tikhonov", 0),
        ("tv", 0),
        ("bilevel", 0),
        ("bilevel", 1),
        ("equilibrium", 0),
        ("equilibrium", 1),
    ]
    assert set(task.truths) == set(task.inputs) == {"scene4"}
    assert task.truths["scene4"].shape == (32, 32)
    for run in task.runs:
        summary = run.summary
        assert set(summary.model_dump()) >= REQUIRED
        assert summary.task == task.task == "denoise"
        assert summary.converged_fraction == 1.0
        assert summary.psnr_mean > summary.psnr_input
        assert 0 < summary.ssim_mean <= 1
        assert summary.reconstruct_seconds > 0
        assert summary.train_seconds > 0
        assert summary.symmetry_defect == 0.0
        assert [image.name for image in summary.images] == ["scene4"]
        assert set(run.reconstructions) == {"scene4"}
        assert run.trace[1][-1] <= summary.tolerance


def test_learned_runs_have_curves_and_filters_and_baselines_do_not(
    both_baselines_and_frameworks: tuple[Comparison, Witness],
) -> None:
    comparison, _ = both_baselines_and_frameworks
    tikhonov, tv, *learned = comparison.tasks[0].runs
    for run in (tikhonov, tv):
        assert run.curve is None
        assert run.filters is None
        assert run.summary.parameters == run.summary.steps == 0
        assert run.summary.tolerance == 1e-5
        assert run.summary.alpha > 0
    for run in learned:
        assert run.curve is not None
        assert run.filters is not None
        assert run.summary.parameters == 24 * 25 + 24 + 2
        assert run.curve.steps.tolist() == [1.0, 2.0]
        assert np.isfinite(run.curve.loss).all()
        assert np.isfinite(run.curve.psnr[[0, -1]]).all()
        assert run.summary.adjoint_evaluations > 0
    notes = " ".join(comparison.tasks[0].notes)
    assert "Tikhonov: strength" in notes
    assert "Total variation: strength" in notes


def test_a_tied_pair_has_the_same_scores_in_both_frameworks(
    both_baselines_and_frameworks: tuple[Comparison, Witness],
) -> None:
    comparison, _ = both_baselines_and_frameworks
    runs = [run.summary for run in comparison.tasks[0].runs]
    assert runs[2].psnr_mean == runs[4].psnr_mean
    assert runs[2].psnr_mean != runs[3].psnr_mean  # another seed


def test_observers_are_told_of_every_run_and_step(
    both_baselines_and_frameworks: tuple[Comparison, Witness],
) -> None:
    _, witness = both_baselines_and_frameworks
    trained = [("advanced", 1), ("advanced", 2)]
    assert witness.told[:6] == [
        ("started", "denoise", "Tikhonov", 0),
        ("finished", "Tikhonov"),
        ("started", "denoise", "Total variation", 0),
        ("finished", "Total variation"),
        ("started", "denoise", "Tied pair, bilevel", 2),
        trained[0],
    ]
    assert [entry for entry in witness.told if entry[0] == "advanced"] == 4 * trained
    assert len([entry for entry in witness.told if entry[0] == "finished"]) == 6


def test_twice_the_same_on_the_embedded_photographs() -> None:
    settings = tiny(methods=("tikhonov", "bilevel", "equilibrium"), steps=2, seed=3)
    first, second = run_comparison(settings), run_comparison(settings)
    assert numbers(first) == numbers(second)
    (task,) = first.tasks
    assert len(task.truths) >= 4
    assert {run.summary.seed for run in task.runs} == {3}
    for a, b in zip(task.runs, second.tasks[0].runs, strict=True):
        for name, image in a.reconstructions.items():
            np.testing.assert_array_equal(image, b.reconstructions[name])
    other = run_comparison(tiny(methods=("tikhonov",), seed=4))
    assert numbers(other)[0]["psnr_mean"] != numbers(first)[0]["psnr_mean"]
    assert first.settings == settings.model_dump(mode="json")
    assert first.environment["device"] == "CPU"


@pytest.mark.parametrize("mode", ["jacobian-free", "unrolled"])
def test_other_modes_run_on_tied_and_untied_pairs(folder: Path, mode: str) -> None:
    settings = tiny(data=str(folder), methods=(mode,), regularizers=("tied-conv", "untied-conv"))
    runs = run_comparison(settings).tasks[0].runs
    assert [run.summary.regularizer for run in runs] == ["tied-conv", "untied-conv"]
    for run in runs:
        assert run.summary.method == mode
        assert run.summary.converged_fraction == 1.0
        assert run.summary.psnr_mean > run.summary.psnr_input
        assert run.curve is not None
        assert np.isfinite(run.curve.loss).all()
    assert runs[0].synthesis_filters is None
    assert runs[1].synthesis_filters is not None
    assert run_module.specs((mode,), None)  # and each has a default


def test_several_tasks_come_in_order(folder: Path) -> None:
    settings = tiny(
        data=str(folder), tasks=(Task(name="deblur"), Task(name="inpaint")), methods=("tikhonov",)
    )
    tasks = run_comparison(settings).tasks
    assert [task.task for task in tasks] == ["deblur", "inpaint"]
    for task in tasks:
        (run,) = task.runs
        assert run.summary.converged_fraction == 1.0
        assert run.summary.psnr_mean > run.summary.psnr_input


def test_a_users_physics_takes_part(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "from deepinv.physics import Inpainting\n\n"
        "def every_third_row_missing(image_shape):\n"
        "    mask = torch.ones(image_shape)\n"
        "    mask[:, ::3] = 0\n"
        "    return Inpainting(image_shape, mask=mask)\n"
    )
    settings = tiny(
        data=str(folder),
        tasks=(Task(name="physics", physics=f"{file}:every_third_row_missing", noise=0.05),),
        methods=("tikhonov", "bilevel"),
        regularizers=("tied-conv",),
    )
    (task,) = run_comparison(settings).tasks
    assert task.task == "physics"
    for run in task.runs:
        assert run.summary.converged_fraction == 1.0
        assert run.summary.psnr_mean > run.summary.psnr_input + 3
    missing = task.inputs["scene4"][::3]
    assert (missing == 0).all()


def test_a_method_without_result_does_not_lose_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *rest: Any, **options: Any) -> Any:
        raise ConvergenceError("No weights were found.")

    monkeypatch.setattr(run_module, "learn", fail)
    settings = tiny(data=str(folder), methods=("tikhonov", "bilevel"), regularizers=("tied-conv",))
    (task,) = run_comparison(settings).tasks
    assert [run.summary.method for run in task.runs] == ["tikhonov"]
    assert any("Tied pair, bilevel, seed 0: no result" in note for note in task.failures)
    with pytest.raises(ConvergenceError, match="No weights"):
        run_comparison(tiny(data=str(folder), methods=("bilevel",), regularizers=("tied-conv",)))


def test_a_strength_at_the_limit_of_its_search_is_marked_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(*args: Any, **options: Any) -> Any:
        return replace(usual(*args, **options), at_limit=at_limit)

    usual = Validation.tune
    monkeypatch.setattr(Validation, "tune", limited)
    for at_limit in (False, True):
        (task,) = run_comparison(tiny(data=str(folder), methods=("tikhonov",))).tasks
        assert task.runs[0].summary.alpha_at_limit == at_limit
        assert any("ended at its limit" in note for note in task.notes) == at_limit


def test_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EquipoiseError, match="nowhere"):
        run_comparison(tiny(data=str(tmp_path / "nowhere")))
    with pytest.raises(EquipoiseError, match="has no images"):
        run_comparison(tiny(data=str(tmp_path)))


# ---- the command that asks for a comparison ----------------------------------------------------


@pytest.fixture
def asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], tuple[CompareSettings, str]]:
    """What a command asks for, and the command that the page shows."""
    found: list[tuple[CompareSettings, str]] = []

    def remember(settings: CompareSettings, *, command: str, **_: object) -> None:
        found.append((settings, command))
        raise ConvergenceError("Enough.")

    monkeypatch.setattr("equipoise.compare.run_comparison", remember)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "options.yaml").write_text("time-budget: 1h\nmask: rows:0.5\ntask: [inpaint]\n")

    def run(command: str) -> tuple[CompareSettings, str]:
        outcome = CliRunner().invoke(app, shlex.split(command)[1:], prog_name="equipoise")
        assert found, outcome.output
        return found.pop()

    return run


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ("", {}),
        (
            "--task denoise,deblur --kernel motion:9:45 --noise 0.02",
            {
                "tasks": (
                    Task(name="denoise", noise=0.02),
                    Task(name="deblur", noise=0.02, kernel="motion:9:45"),
                )
            },
        ),
        (
            "--task inpaint --mask-fraction 0.3 --seed 4 --seeds 3 --device cpu",
            {
                "tasks": (Task(name="inpaint", mask="0.3"),),
                **{"seed": 4, "seeds": 3, "device": "cpu"},
            },
        ),
        ("--task inpaint --mask rows:0.5", {"tasks": (Task(name="inpaint", mask="rows:0.5"),)}),
        (
            "--task tomography --angles 60:0-120",
            {"tasks": (Task(name="tomography", angles="60:0-120"),)},
        ),
        (
            '--data "my photos/it\'s (1)" --crop 64 --validation-crop 48',
            {"data": "my photos/it's (1)", "crop": 64, "validation_crop": 48},
        ),
        (
            "--physics 'my folder/mine.py:blur' --noise 0.05",
            {"tasks": (Task(name="physics", physics="my folder/mine.py:blur", noise=0.05),)},
        ),
        (
            "--methods tv,jacobian-free --regularizer untied-conv,contractive",
            {"methods": ("tv", "jacobian-free"), "regularizers": ("untied-conv", "contractive")},
        ),
        (
            "--steps 55 --batch-size 2 --patches 7 --patch-size 20 --jacobian-penalty 0.5",
            {"steps": 55, "batch_size": 2, "patches": 7, "patch_size": 20}
            | {"jacobian_penalty": 0.5},
        ),
        ("--time-budget 90s", {"time_budget": 90.0, "steps": 1_000_000}),
        (
            "--config options.yaml --steps 7 --mask-fraction 0.4",
            {"steps": 7, "tasks": (Task(name="inpaint", mask="0.4"),)},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_gives_its_settings_and_is_shown_as_it_was_meant(
    asked: Callable[[str], tuple[CompareSettings, str]], options: str, changes: dict[str, Any]
) -> None:
    settings, command = asked(f"equipoise compare {options}")
    assert settings == CompareSettings(**changes)
    assert "--config" not in command
    assert asked(command) == (settings, command)


def test_a_command_leaves_out_defaults(
    asked: Callable[[str], tuple[CompareSettings, str]],
) -> None:
    assert asked("equipoise compare")[1] == "equipoise compare"
    assert asked("equipoise compare --seed 2")[1] == "equipoise compare --seed 2"


def test_odd_images_are_left_out_and_named_before_training(tmp_path: Path) -> None:
    """One test image of 8 x 8, a black one, a small validation image, colour."""
    for part, names in (
        ("train", {"a": 36, "b": 36, "small": 12}),
        ("val", {"v": 36, "w": 9}),
        ("test", {"good": 36, "tiny": 8, "black": 36}),
    ):
        (tmp_path / part).mkdir()
        for k, (name, side) in enumerate(names.items()):
            values = np.rint(255 * scene(36, k)[0, :side, :side].numpy() * (name != "black"))
            shown = PIL.Image.fromarray(values.astype(np.uint8))
            shown.convert("RGB" if name == "a" else "L").save(tmp_path / part / f"{name}.png")
    settings = tiny(data=str(tmp_path), methods=("tikhonov",), regularizers=None)
    watch = Witness()
    (task,) = run_comparison(settings, observer=watch).tasks
    assert list(task.truths) == ["good"]
    noted = [words for kind, *words in watch.told if kind == "noted"]
    assert noted == [[note] for note in task.notes[: len(noted)]]
    assert watch.told[len(noted)][0] == "started"
    words = " ".join(task.notes)
    for said in ("small.png", "w.png", "black, tiny", "1 of the images are in colour"):
        assert said in words, said
    changed = settings.model_copy(update={"tasks": (Task(name="denoise", noise=0.0),)})
    with pytest.raises(UsageError, match="without noise"):
        run_comparison(changed)


def test_every_task_is_posed_before_one_is_learned(folder: Path) -> None:
    watch = Witness()
    tasks = Task(name="denoise"), Task(name="deblur", kernel="motion:99")
    with pytest.raises(InputError, match="larger than the image"):
        run_comparison(tiny(tasks=tasks, data=str(folder)), observer=watch)
    assert watch.told == []


def test_weights_that_ship_are_compared_at_the_noise_of_the_task(folder: Path) -> None:
    settings = tiny(
        tasks=(Task(name="denoise", noise=0.1), Task(name="inpaint", noise=0.02)),
        methods=("tikhonov", "pretrained"),
        regularizers=None,
        data=str(folder),
    )
    comparison = run_comparison(settings)
    for task in comparison.tasks:
        plain, ready = (run.summary for run in task.runs)
        assert (ready.label, ready.method) == ("Pretrained ridge", "pretrained")
        assert ready.regularizer == DEFAULT
        assert ready.converged_fraction == 1.0
        assert ready.parameters > 10_000
        assert 0.02 < ready.alpha < 5
        assert not ready.alpha_at_limit
        assert any(note.startswith("Pretrained ridge: strength") for note in task.notes)
        assert ready.psnr_mean > ready.psnr_input
        assert plain.method == "tikhonov"
    denoised = comparison.tasks[0].runs[1].summary
    assert 0.5 < denoised.alpha < 2  # the weights are right for the noise
