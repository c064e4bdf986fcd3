"""Energy that the GPUs have used, from the NVIDIA driver's counters."""

import ctypes
from collections.abc import Sequence

MILLIJOULES_PER_KWH = 3.6e9


def used_kwh(devices: Sequence[str]) -> float | None:
    """Energy that these GPUs have used since the driver was loaded, also for other programs; None if it is unknown.

    `devices` are indices or UUIDs, as in CUDA_VISIBLE_DEVICES.
    """
    if not devices:
        return None
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2():
            return None
        try:
            return sum(_millijoules(library, name) for name in devices) / MILLIJOULES_PER_KWH
        finally:
            library.nvmlShutdown()
    except (OSError, AttributeError, ValueError):
        # No driver, an old one, or a GPU without a counter.
        return None


def _millijoules(library: ctypes.CDLL, name: str) -> int:
    handle, energy = ctypes.c_void_p(), ctypes.c_ulonglong()
    if name.isdecimal():
        failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(handle))
    else:
        failed = library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
    if failed or library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(energy)):
        raise ValueError(name)
    return energy.value
