"""Run one case in a process of its own, so that its memory is its own and its end is survived."""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, device

#: Words for a case that the memory of the machine did not hold.
TOO_LARGE = "out of memory"
#: Exit code that says so.
_TOO_LARGE_CODE = 9
#: Share of the memory that is free at the start which a case may take.
SHARE = 0.92


def isolated(module: str, function: str, **arguments: Any) -> dict[str, Any] | None:
    """Call ``benchmarks.<module>.<function>(**arguments)`` in a fresh process.

    Args:
        module: of this package.
        function: returns a dictionary that JSON can hold.
        arguments: likewise.

    Returns:
        What the function returned; None if the memory did not suffice.

    Raises:
        RuntimeError: if the process failed in another way; the message is what it said.
    """
    command = [sys.executable, "-m", "benchmarks.isolated", module, function]
    done = subprocess.run(
        [*command, json.dumps(arguments)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == _TOO_LARGE_CODE or done.returncode == -_TOO_LARGE_CODE:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{module}.{function}({arguments}) failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main(module: str, function: str, arguments: str) -> int:
    """Call the function and print its answer; memory beyond what is free is refused early."""
    if device().type == "cpu":
        free = _free_bytes()
        if free is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (int(SHARE * free),) * 2)
    try:
        called = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        print(json.dumps(called(**json.loads(arguments))))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "memory" in str(error):
            return _TOO_LARGE_CODE
        raise
    return 0


def _free_bytes() -> int | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    fields = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
    return 1024 * int(fields["MemAvailable"].split()[0])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
