"""Help, version, unknown names, exit codes, and what is imported for them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from programs import Run
from pydantic import Field
from typer.main import get_command
from typer.testing import CliRunner

from equipoise.cli import examples
from equipoise.cli.app import app
from equipoise.cli.failures import ExitCode, plain_errors
from equipoise.cli.jobs import CertifyJob, FieldChoice, LearningJob, SolvingSettings
from equipoise.cli.options import OptionsOf, with_options
from equipoise.errors import (
    AdjointError,
    ConvergenceError,
    HypothesisError,
    InputError,
    OutputError,
    UnknownNameError,
    UsageError,
    WeightsError,
)
from equipoise.settings.setting import Shown, option_name, options_of
from equipoise.settings.task import Of, Task

HEAVY = ("torch", "deepinv", "matplotlib", "numpy", "huggingface_hub")
COMMANDS = ("compare", "train", "reconstruct", "models", "certify", "study")


def lightly(words: Sequence[str], code: int) -> subprocess.CompletedProcess[str]:
    """Run a command that ends with a code, and see that nothing heavy was imported."""
    program = (
        "import sys\n"
        f"sys.argv = ['equipoise', *{list(words)!r}]\n"
        "from equipoise.cli import main\n"
        f"try:\n    main()\nexcept SystemExit as exit:\n    assert exit.code == {code}, exit.code\n"
        f"found = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not found, found\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_nothing_heavy(command: str) -> None:
    assert "Examples" in lightly([*command.split(), "--help"], 0).stdout


def test_a_name_that_no_weights_file_has_is_refused_before_anything_heavy_is_imported() -> None:
    result = lightly(["train", "--task", "denoise", "--out", "weights.pt"], 2)
    assert "end in .safetensors, got --out weights.pt" in result.stderr


def test_package_import_is_light_and_lends_every_name() -> None:
    code = (
        "import sys, equipoise\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]\n"
        "equipoise.UnknownNameError\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert 'torch' not in dir(equipoise) and 'Equation' in dir(equipoise)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import equipoise

    for name in equipoise.__all__:
        value = getattr(equipoise, name)
        assert name == "__version__" or value.__name__ == name
    with pytest.raises(AttributeError, match="Equatoin"):
        equipoise.Equatoin  # noqa: B018


def test_version(run: Run) -> None:
    import equipoise

    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.strip() == f"equipoise {equipoise.__version__}"


def test_module_runs_as_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "equipoise", "--version"], capture_output=True, text=True
    )
    assert result.returncode == 0
    assert result.stdout.startswith("equipoise ")


TEXTS = [text for name, text in vars(examples).items() if name.isupper()]


def example_commands(texts: Sequence[str] = TEXTS) -> list[list[str]]:
    joined = "\n".join(texts).replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines()]
    return [shlex.split(line) for line in lines if re.match(r"equipoise [a-z]+ ?(--|\w|$)", line)]


def test_examples_are_found() -> None:
    assert len(TEXTS) == 1 + len(COMMANDS)
    for text in TEXTS:
        assert 2 <= len(example_commands([text])) <= 5
    assert {words[1] for words in example_commands()} == set(COMMANDS)


@pytest.mark.parametrize("words", example_commands(), ids=" ".join)
def test_examples_use_options_that_exist(words: list[str]) -> None:
    command = get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    context = command.make_context(
        words[1], [w for w in words[2:] if not w.endswith(".yaml") and w != "--config"]
    )
    assert context.params


def test_example_lines_fit_a_terminal() -> None:
    for text in TEXTS:
        assert max(map(len, text.splitlines())) < 79


def test_help_lists_the_names_that_exist(run: Run) -> None:
    from typing import get_args

    from equipoise.compare.methods import CANDIDATES, METHODS
    from equipoise.problems.pose import DEVICES
    from equipoise.settings.task import TASKS
    from equipoise.settings.training import Loss, Mode

    compare, train = (re.sub(r"\s+", " ", run(c, "--help").stdout) for c in ("compare", "train"))
    for name in (*METHODS, *CANDIDATES, *TASKS, *DEVICES):
        assert name in compare
    for name in (*get_args(Mode), *get_args(Loss), *TASKS, *DEVICES):
        assert name in train


@pytest.mark.parametrize(
    ("command", "model", "without"),
    [
        ("train", "Task", ()),
        ("reconstruct", "Task", ()),
        ("certify", "Task", ()),
        ("study", "Task", ("noise", "physics")),  # it has its own of both
        ("compare", "Task", ("name",)),  # several
        ("train", "LearningJob", ()),
        ("train", "TrainSettings", ()),
        ("reconstruct", "SolvingSettings", ()),
        ("certify", "FieldChoice", ()),
        ("certify", "CertifyJob", ()),
        ("compare", "CompareSettings", ()),
        ("study", "StudySettings", ()),
    ],
)
def test_every_setting_is_an_option_that_speaks_for_itself(
    command: str, model: str, without: tuple[str, ...]
) -> None:
    from equipoise.compare import CompareSettings
    from equipoise.learn import TrainSettings
    from equipoise.study import StudySettings

    ours = (Task, TrainSettings, LearningJob, SolvingSettings, FieldChoice, CertifyJob)
    models = {model.__name__: model for model in (*ours, CompareSettings, StudySettings)}
    options = {p.name: p for p in get_command(app).commands[command].params}  # type: ignore[attr-defined]
    shown = 0
    for field, info in models[model].model_fields.items():
        for entry in options_of(info) if field not in without else ():
            option = options[option_name(field, info, entry)]
            words = entry.help or " ".join(str(info.description).split())
            assert option.help.startswith(words)
            assert option.rich_help_panel == entry.panel
            default = info.default
            if entry.default is None and type(default) in (int, float, str):
                if (command, field) == ("train", "jacobian_penalty"):
                    default = 0.1  # the program's
                assert option.help == f"{words} Default: {default}."
            shown += 1
    assert shown >= 3


class Longer(Task):
    """A task with one more field."""

    frames: Annotated[int | None, Of("deblur"), Shown("N", "The problem")] = Field(None, ge=2)
    """deblur: frames of a burst."""


def test_a_new_setting_is_an_option_at_once() -> None:
    def show(
        context: typer.Context, *, problem: Annotated[dict[str, Any], OptionsOf(Longer)]
    ) -> None:
        """Say what was given."""
        typer.echo(repr(Longer(**problem)))

    program = typer.Typer()
    program.command()(with_options(show))
    call = CliRunner().invoke
    assert "deblur: frames of a burst." in call(program, ["--help"]).output
    found = call(program, ["--task", "deblur", "--frames", "3"])
    assert found.exit_code == 0
    assert "frames=3" in found.output
    assert call(program, ["--task", "deblur", "--frames", "1"]).exit_code == 2
    idle = call(program, ["--task", "denoise", "--frames", "3"])
    assert idle.exit_code == 2
    assert "--frames belongs to --task deblur." in idle.output


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["compar"], "'compare'"),
        (["compare", "--metods", "tv"], "--methods"),
        (["compare", "--task", "denois"], "'denoise'"),
        (["compare", "--methods", "tv,bilevell"], "'bilevel'"),
        (["compare", "--regularizer", "tied-cnv", "--methods", "bilevel"], "'tied-conv'"),
        (["train", "--task", "deblurr"], "'deblur'"),
        (["train", "--task", "tomografy"], "'tomography'"),
        (["train", "--mode", "equilibrum"], "'equilibrium'"),
        (["train", "--regularizer", "untied-con"], "'untied-conv'"),
        (["train", "--loss", "hubr"], "'huber'"),
        (["train", "--set", "filtres=3"], "'filters'"),
        (["train", "--device", "cdua"], "'cuda'"),
        (["certify", "--regularizer", "tikhonv"], "'tikhonov'"),
        (["certify", "--regularizer", "tv", "--task", "inpant"], "'inpaint'"),
        (["certify", "--regularizer", "tv", "--set", "epsilonn=1"], "'epsilon'"),
        (["train", "--task", "deblur", "--kernel", "gausian:1.5"], "'gaussian'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_unknown_names_get_the_nearest(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], nearest: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 2
    assert nearest in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "--steps", "3", "--time-budget", "2m"], "--steps and --time-budget"),
        (["compare", "--mask", "m.png", "--mask-fraction", "0.5"], "--mask and --mask-fraction"),
        (["compare", "--task", "denoise", "--kernel", "motion:9"], "--task deblur"),
        (["compare", "--task", "deblur", "--mask-fraction", "0.5"], "--task inpaint"),
        (["compare", "--task", "denoise", "--physics", "mine:blur"], "--task and --physics"),
        (["compare", "--angles", "30"], "--task tomography"),
        (["compare", "--task", "tomography", "--angles", "30:120"], "60:0-120"),
        (["train", "--task", "inpaint", "--angles", "30"], "--task tomography"),
        (["compare", "--task", "physics"], "module:function"),
        (["compare", "--time-budget", "soon"], "120s, 2m, 1h"),
        (["compare", "--steps", "0"], "--steps"),
        (["compare", "--methods", "bilevel", "--regularizer", "untied-conv"], "equilibrium"),
        (["train", "--out", "weights.pt"], ".safetensors"),
        (["certify"], "--weights FILE.safetensors or --regularizer NAME"),
        (["certify", "--regularizer", "tv", "--weights", "w"], "--regularizer exclude each other"),
        (["certify", "--weights", "w", "--set", "a=1"], "--set belongs to --regularizer"),
        (["certify", "--regularizer", "tv", "--kernel", "motion:9"], "--task deblur"),
        (["certify", "--regularizer", "tv", "--size", "4"], "--size"),
        (["certify", "--regularizer", "tv", "--size", "1000"], "camera.png"),
        (["train", "--set", "filters"], "name=value"),
        (["train", "--learning-rate", "-1"], "--learning-rate"),
        (["study", "rates", "--task", "deblur", "--angles", "30"], "--task tomography"),
        (["train", "--task", "denoise", "--physics", "mine:blur"], "--task and --physics"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_input_that_a_setting_refuses_has_the_code_of_input(run: Run) -> None:
    result = run("compare", "--task", "tomography", "--angles", "0")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "at least one direction, got 0" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("a"), 2),
        (UnknownNameError("task", "a", ["b"]), 2),
        (HypothesisError("a"), 2),
        (InputError("a"), 3),
        (AdjointError("a"), 3),
        (WeightsError("a"), 3),
        (OutputError("a"), 3),
        (FileNotFoundError(2, "No such file or directory", "photo.png"), 3),
        (ConvergenceError("a"), 4),
        (ZeroDivisionError("a"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, plain_errors(debug=False):
        raise error
    assert caught.value.exit_code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1


def test_settings_that_pydantic_refuses_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    from equipoise.learn import TrainSettings

    with pytest.raises(typer.Exit) as caught, plain_errors(debug=False):
        TrainSettings(learning_rate=-1.0, patch_size=2)
    assert caught.value.exit_code == ExitCode.BAD_USE
    message = capsys.readouterr().err
    assert "--learning-rate: Input should be greater than 0, got -1.0." in message
    assert "--patch-size" in message
    assert "pydantic" not in message


def test_debug_lets_the_error_through() -> None:
    with pytest.raises(ZeroDivisionError), plain_errors(debug=True):
        raise ZeroDivisionError
