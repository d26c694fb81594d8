"""Restore many image files: progress, what the same command did before it was killed, the table."""

from __future__ import annotations

from rich.console import Console

from equipoise.cli.display import display
from equipoise.cli.inputs import Job
from equipoise.cli.journal import Journal
from equipoise.cli.outputs import Rescue, reserved
from equipoise.cli.restoring import Restored, Restorer
from equipoise.cli.tables import restoration_table


def restore_all(
    restorer: Restorer, jobs: list[Job], journal: Journal, *, resume: bool, overwrite: bool
) -> list[Restored]:
    """Restore what is not restored yet and print the table, whatever happens.

    Args:
        restorer: restores one image.
        jobs: files.
        journal: what this same command finished before.
        resume: whether that is kept.
        overwrite: whether other files that are there are replaced.

    Returns:
        One row for each job.

    Raises:
        OutputError: if outputs cannot be written; images that were restored are kept elsewhere.
        UsageError: if outputs are there and are not to be replaced.
        InputError: if an image does not fit the problem.
    """
    rows: dict[Job, Restored] = {}
    if resume:
        journal.read()
        known = {job: journal.finished(job) for job in jobs}
        rows = {job: Restored.of(job, row) for job, row in known.items() if row is not None}
    left = [job for job in jobs if job not in rows]
    own = {path for job in jobs if job in rows or journal.owns(job) for path in job.outputs}
    files = [path for job in left for path in job.outputs if path not in own]
    advice = ""
    if resume and not journal.there:
        advice = "Nothing of this command is unfinished here."
    elif journal.there and not resume:
        advice = "Or go on with --resume where it was killed."
    console, rescue = Console(), Rescue()
    with reserved(
        files,
        held=[job.restored for job in left],
        beside=own,
        overwrite=overwrite,
        advice=advice,
    ):
        journal.begin()
        try:
            with display() as progress:
                progress.begin("Restoring", len(jobs), "images")
                inputs = [job.source for job in jobs]
                for job in left:
                    progress.update(len(rows), job.source.name)
                    journal.begins(job)
                    rows[job] = restorer.restore(job, inputs, rescue)
                    if rows[job].written:
                        journal.ends(job, rows[job].row())
                progress.end()
        finally:
            found = [rows[job] for job in jobs if job in rows]
            if found:
                console.print(restoration_table(found))
                for note in dict.fromkeys(note for row in found for note in row.notes):
                    console.print(note, markup=False, soft_wrap=True)
            journal.close(done=len(rows) == len(jobs) and all(row.written for row in found))
        rescue.finish()
    places = dict.fromkeys(str(job.restored.parent) for job in jobs)
    console.print(
        f"Restored images in {', '.join(places)}: {len(found)}.", markup=False, soft_wrap=True
    )
    return found
