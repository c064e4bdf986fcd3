"""The energy counters of the GPUs, read through the driver's library."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.execution import energy

DRIVER = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(long)(index + 1);
    return index > 1;
}
int nvmlDeviceGetHandleByUUID(const char *name, void **device) {
    *device = (void *)9;
    return strcmp(name, "GPU-9") != 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *used) {
    *used = (long)device * 3600000000ULL;
    return 0;
}
"""
"""A driver whose GPU 0 has used 1 kWh, GPU 1 has used 2 kWh, and GPU-9 has used 9 kWh."""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_energy_is_read_from_the_driver(tmp_path: Path) -> None:
    (tmp_path / "nvml.c").write_text(DRIVER)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "nvml.c")], check=True)
    asked = '["0"], ["0", "1"], ["GPU-9"], ["2"], ["GPU-8"], []'
    code = f"from tasks.execution.energy import used_kwh; print([used_kwh(names) for names in ({asked})])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[1.0, 3.0, 9.0, None, None, None]", found.stderr


def test_without_a_driver_energy_is_unknown() -> None:
    assert energy.used_kwh(()) is None
    if not shutil.which("nvidia-smi"):
        assert energy.used_kwh(("0",)) is None
