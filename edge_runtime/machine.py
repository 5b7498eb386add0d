"""What this machine is: how many CPUs this process may use, and what they are called."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_NAME_KEYS = ("model name", "Model")  # x86, Raspberry Pi


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the CPU's model name where the system tells it, else its architecture, such as ``aarch64``."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]
    names = [value for wanted in _NAME_KEYS for key, value in pairs if key == wanted and value]
    return names[0] if names else platform.machine()
