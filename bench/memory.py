"""Resident memory of processes, from /proc. Standard library only, because other environments import it too."""

from pathlib import Path


def peak_gib(pid: int | str = "self") -> float:
    """Peak resident memory of a process since its start or since `reset_peak`; 0 if the process has ended."""
    return _status(pid, "VmHWM")


def resident_gib(pid: int | str = "self") -> float:
    """Resident memory of a process now; 0 if the process has ended."""
    return _status(pid, "VmRSS")


def reset_peak() -> bool:
    """Reset this process's peak to its resident memory now; False if the kernel does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def children(pid: int) -> list[int]:
    """All descendants of a process."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # "PID (NAME) STATE PARENT ...": the name may contain spaces and brackets.
            parent = int((folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        parents.setdefault(parent, []).append(int(folder.name))
    found = list(parents.get(pid, []))
    for child in found:
        found += parents.get(child, [])
    return found


def available_gib() -> float:
    """Memory that is available on the machine."""
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _status(pid: int | str, field: str) -> float:
    return _field(Path(f"/proc/{pid}/status"), field)


def _field(path: Path, field: str) -> float:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 2**20 for line in lines if line.startswith(f"{field}:")), 0.0)
