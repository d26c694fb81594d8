"""Which inverse problem a user means: options, checked and completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from equipoise.cli.values import allow_working_folder
from equipoise.errors import UsageError
from equipoise.problems import kernel_from_text, mask_from_text
from equipoise.problems.angles import angles_from_file, is_angles_file
from equipoise.problems.kernels import is_kernel_file, named_kernel
from equipoise.problems.masks import MaskFolder, is_mask_file, named_mask
from equipoise.settings.data_range import data_range_from_text
from equipoise.settings.task import (
    OWN,
    USUAL_TASKS,
    Content,
    Task,
    belongs,
    refuse_idle,
)


def _mask(text: str) -> Content:
    return MaskFolder(Path(text)) if Path(text).is_dir() else mask_from_text(text)


#: Options that may name a file: how to tell, and what reads it.
_FILES: dict[str, tuple[Callable[[str], bool], Callable[[str], Content]]] = {
    "mask": (is_mask_file, _mask),
    "kernel": (is_kernel_file, kernel_from_text),
}


def choose_task(usual: Task | None, given: Mapping[str, Any]) -> Task:
    """Complete what the user gave by the usual task, as long as its name is the same.

    What comes from a weights file opens no other file and runs no code: its operator must be
    named again by the user.

    Args:
        usual: of the weights' record; None takes denoising with its own noise.
        given: fields of the task that the user gave. Mask and kernel may be paths, which are read.

    Raises:
        UsageError: if an option must be named by the user.
        InputError: if a mask or kernel cannot be read.
        pydantic.ValidationError: if there is no such task, or an option does not belong to it.
    """
    name, physics = given.get("name"), given.get("physics")
    _refuse_both(physics, name not in (None, OWN))
    name = name or (OWN if physics is not None else usual.name if usual else "denoise")
    known = dict(usual) if usual is not None and usual.name == name else {}
    given = dict(given) | _listed(given)
    if usual is not None and known and "data_range" in given and usual.noise is not None:
        span = data_range_from_text(given["data_range"]).width
        known["noise"] = usual.noise / usual.span * span  # the same noise in other numbers
    chosen = Task(**{**known, **given, "name": name})
    if known:
        _refuse_outside(known, given)
    return chosen.model_copy(update=_contents(given))


def compared_tasks(names: tuple[str, ...] | None, given: Mapping[str, Any]) -> tuple[Task, ...]:
    """The tasks of a comparison; the usual three if none is named, and for the word ``all``.

    Args:
        names: of the tasks, or None.
        given: fields that the user gave; each goes to the tasks that it belongs to.

    Raises:
        UsageError: if an option belongs to none of them.
        InputError: if a mask or kernel cannot be read.
        pydantic.ValidationError: if there is no such task.
    """
    _refuse_both(given.get("physics"), names not in (None, (OWN,)))
    given = dict(given) | _listed(given)
    groups = [USUAL_TASKS if name == "all" else (name,) for name in names or ("all",)]
    chosen = (OWN,) if "physics" in given else tuple(name for group in groups for name in group)
    refuse_idle(Task, given, chosen)

    def of(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in fields.items() if belongs(Task, key, name)}

    tasks = [Task(name=name, **of(name, given)) for name in dict.fromkeys(chosen)]
    contents = _contents(given)
    return tuple(task.model_copy(update=of(task.name, contents)) for task in tasks)


def _listed(given: Mapping[str, Any]) -> dict[str, str]:
    """The directions that a file lists, as the text that a task holds."""
    name = str(given.get("angles", ""))
    return {"angles": angles_from_file(name)} if is_angles_file(name) else {}


def _refuse_both(physics: str | None, named: bool) -> None:
    if physics is not None and named:
        raise UsageError("--task and --physics exclude each other; give one of them.")


def _contents(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the files hold that options name; an operator may be one of the working folder."""
    if "physics" in given:
        allow_working_folder()
    return {
        name: read(given[name])
        for name, (is_file, read) in _FILES.items()
        if name in given and is_file(given[name])
    }


def _refuse_outside(known: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what a weights file names and does not hold, unless the user gave it.

    Raises:
        UsageError: saying what it is and how to give it.
    """
    physics = known["physics"]
    if physics is not None and "physics" not in given:
        raise UsageError(
            f"The weights were trained for your operator '{physics}', but a weights file "
            "must not choose which code runs: if that is the code you mean, add --physics "
            f"{physics}; for another problem, add --task."
        )
    for option, read in (("mask", named_mask), ("kernel", named_kernel)):
        text = known[option]
        try:
            if isinstance(text, str) and option not in given:
                read(text)
        except UsageError:
            raise UsageError(
                f"The weights were trained with the {option} '{text}', which their file, written "
                f"by an older version of equipoise, does not hold: add --{option} FILE with that "
                "image."
            ) from None
