"""What ``equipoise reconstruct`` says at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from equipoise.errors import ConvergenceError

if TYPE_CHECKING:
    from equipoise.cli.restoring import Restored


def restoration_table(rows: list[Restored]) -> Table:
    """One row per image: residual, bound of the error, evaluations, status, seconds.

    Args:
        rows: what was restored; PSNR before and after appears where the truth is known.
    """
    simulated = any(row.psnr is not None for row in rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("Image", overflow="fold")
    heads = ["Residual", "Error per pixel", "Eval.", "Status", "Time"]
    for head in [*heads, "PSNR (dB)"] if simulated else heads:
        table.add_column(head, justify="right")
    for row in rows:
        cells = [
            f"{row.residual:.1e}",
            "no bound" if row.error_bound is None else f"≤ {row.error_bound:.1e}",
            str(row.evaluations),
            row.status.name.lower().replace("_", " "),
            f"{row.seconds:.2f} s",
        ]
        if row.psnr is not None and row.psnr_input is not None:
            cells.append(f"{row.psnr_input:.2f} to {row.psnr:.2f}")
        table.add_row(Text(row.job.restored.name), *cells)
    return table


def require_convergence(rows: list[Restored]) -> None:
    """Say which images did not converge and what helps.

    Raises:
        ConvergenceError: if there is one.
    """
    failed = [row for row in rows if row.status.name != "CONVERGED"]
    if failed:
        images = ", ".join(str(row.job.source) for row in failed)
        advice = " ".join(dict.fromkeys(row.status.advice for row in failed))
        raise ConvergenceError(f"Not converged: {images}. {advice} The images were written.")
