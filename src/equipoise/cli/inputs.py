"""Which images are restored, with which masks, and where to."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from equipoise.errors import InputError, UsageError
from equipoise.images import SUFFIXES, is_image_file, lossless_name, read_image, write_image
from equipoise.problems import FixedMask
from equipoise.problems.masks import NAN, MaskFolder
from equipoise.settings.task import Task


@dataclass(frozen=True)
class Job:
    """One input and the files that come of it.

    Args:
        source: the image file.
        restored: where the restored image goes.
        degraded: where the simulated measurement goes; None where nothing is simulated.
    """

    source: Path
    restored: Path
    degraded: Path | None

    @property
    def outputs(self) -> list[Path]:
        """Every file that is written."""
        return [self.restored] if self.degraded is None else [self.restored, self.degraded]


def may_miss(task: Task, simulate: bool) -> bool:
    """Whether files may have NaN, in place of missing pixels."""
    return task.name == "inpaint" and not simulate


def image_files(paths: list[Path]) -> list[Path]:
    """The images, and those in the folders that are named; results of before are left out.

    Raises:
        InputError: if a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in sorted(path.iterdir()) if is_image_file(file)]
        inside = [file for file in inside if not file.stem.endswith(("_restored", "_degraded"))]
        if not inside:
            raise InputError(f"The folder '{path}' has no images ({', '.join(SUFFIXES)}).")
        found += inside
    return found


def plan_jobs(
    images: list[Path], out: Path | None, simulate: bool, missing: bool = False
) -> list[Job]:
    """Name the outputs of every input, and read each input once so that bad ones stop nothing late.

    Args:
        images: the inputs.
        out: folder of the outputs, or where there is one input the output; None is each input's
            own folder.
        simulate: whether degraded images are written, too.
        missing: whether NaN marks missing pixels.

    Raises:
        InputError: if an input cannot be read.
        UsageError: if two inputs would give the same output, or one output is named for several.
    """
    if out is not None and names_image(out):
        return [_job_of_file(images, out, simulate, missing)]
    jobs = []
    for source in images:
        read_image(source, missing=missing)
        restored, degraded = (
            lossless_name((out or source.parent) / f"{source.stem}_{what}{source.suffix}")
            for what in ("restored", "degraded")
        )
        jobs.append(Job(source, restored, degraded if simulate else None))
    names = [job.restored for job in jobs]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"Several inputs would be restored to {', '.join(twice)}: restore them one by one "
            "with different --out."
        )
    return jobs


def names_image(out: Path) -> bool:
    """Whether ``--out`` means a file."""
    return out.suffix.lower() in SUFFIXES and not out.is_dir()


def _job_of_file(images: list[Path], out: Path, simulate: bool, missing: bool) -> Job:
    """The job of one input whose output is named.

    Raises:
        UsageError: if there are several, or the format cannot hold the image.
    """
    if len(images) > 1:
        raise UsageError(
            f"--out {out} is one file, and there are {len(images)} images: name a folder."
        )
    image = read_image(images[0], missing=missing)
    with tempfile.TemporaryDirectory() as folder:  # refused now, if at all, and not in the end
        write_image(Path(folder) / f"{out.stem}{out.suffix}", image)
    degraded = out.with_name(f"{out.stem}_degraded{out.suffix}")
    return Job(images[0], out, degraded if simulate else None)


def require_known_mask(task: Task, simulate: bool, images: list[Path]) -> None:
    """Refuse to guess which pixels of a measured image are known.

    Raises:
        UsageError: if the mask is random though the images are measured.
        InputError: if a folder has not one mask for each image.
    """
    if isinstance(task.mask, MaskFolder):
        for image in images:
            task.mask.mask_of(image)
        return
    if not may_miss(task, simulate) or isinstance(task.mask, FixedMask) or task.mask == NAN:
        return
    raise UsageError(
        "To restore measured images, say which pixels are known: --mask IMAGE, white where they "
        "are, or --mask nan where the files have NaN for missing ones; to try the weights on a "
        "clean image, add --simulate."
    )
