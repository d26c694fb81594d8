"""Where a benchmark ran: hardware, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from equipoise.environment import version, versions

ROOT = Path(__file__).resolve().parents[1]
#: Environment variable with the device to measure on; unset: an accelerator if there is one.
DEVICE = "EQUIPOISE_BENCHMARK_DEVICE"
#: Environment variable with another checkout to compare start-up with; unset: none.
AGAINST = "EQUIPOISE_BENCHMARK_AGAINST"


def device() -> torch.device:
    """The device that everything is measured on."""
    return torch.device(os.environ.get(DEVICE) or ("cuda" if torch.cuda.is_available() else "cpu"))


def describe() -> dict[str, Any]:
    """Describe this machine and the software that is measured.

    Returns:
        JSON-able values: processor, cores (that this process may use), threads, memory in GiB,
        accelerator (None without one), versions, commit (followed by ``+`` where files differ
        from it), date.
    """
    on_gpu = device().type == "cuda"
    return {
        "processor": _processor(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": torch.cuda.get_device_name(device()) if on_gpu else None,
        **versions(),
        "torchdeq": version("torchdeq"),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def sentence(machine: dict[str, Any]) -> str:
    """One line for readers."""
    where = machine["accelerator"] or machine["processor"]
    names = ("python", "torch", "deepinv", "torchdeq", "equipoise")
    versions = ", ".join(f"{name} {machine[name]}" for name in names if machine[name])
    return (
        f"{where}, {machine['cores']} cores, {machine['threads']} threads, {machine['memory']} GiB;"
        f" {versions}; commit {machine['commit']}, {machine['date']}"
    )


def _processor() -> str:
    """Name of the processor and the widest vector instructions that torch uses."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _commit() -> str | None:
    head = _git("rev-parse", "--short=10", "HEAD")
    if head is None:
        return None
    return head + ("+" if _git("status", "--porcelain", "--", "src", "benchmarks/*.py") else "")


def _git(*words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
