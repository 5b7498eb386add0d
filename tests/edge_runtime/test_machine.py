"""What the machine says of itself, on the kinds of machine this runs on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from edge_runtime.machine import available_cpus, cpu_name

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.80GHz\n"
RASPBERRY_PI = "processor\t: 0\nBogoMIPS\t: 108.00\n\nRevision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"
SERVER_ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (X86, "Intel(R) Xeon(R) CPU @ 2.80GHz"),
        (RASPBERRY_PI, "Raspberry Pi 5 Model B Rev 1.0"),
        (SERVER_ARM, platform.machine()),
        ("model name\t: \n", platform.machine()),
    ],
)
def test_the_cpu_is_named_where_the_system_names_it(text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_without_cpuinfo_the_architecture_is_the_name(tmp_path: Path) -> None:
    assert cpu_name(tmp_path / "nowhere") == platform.machine()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes to CPUs")
def test_only_the_cpus_this_process_may_use_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert available_cpus() == len(allowed)
