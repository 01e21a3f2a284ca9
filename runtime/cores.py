"""How many CPU cores this process may use, and of which processor: the one place that says so."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def usable() -> int:
    """Cores that this process may use: those of its affinity (taskset), and no more than its container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = quota()
    return cores if allowed is None else max(1, min(cores, math.ceil(allowed)))


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def quota(groups: Path = _CGROUP, mount: Path = _MOUNT) -> float | None:
    """The CPU quota of this process's control groups, in cores; None where there is none.

    groups: the list of the groups this process is in. mount: where control groups are mounted. Both versions are read:
    `cpu.max` of the second, `cpu.cfs_quota_us` and `cpu.cfs_period_us` of the first; a quota holds for all groups
    below, so the smallest on the way to the root counts.
    Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
    """
    found = []
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = mount / controllers if controllers and (mount / controllers).is_dir() else mount
        if controllers and base == mount:
            base = mount / "cpu"
        below = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(below) + 1):
            found.append(_of(base.joinpath(*below[:depth])))
    known = [one for one in found if one is not None]
    return min(known) if known else None


def _of(folder: Path) -> float | None:
    """The quota that one control group sets."""
    try:
        if (folder / "cpu.max").is_file():
            limit, period = (folder / "cpu.max").read_text().split()[:2]
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        cores = float(limit) / float(period) if limit != "max" else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if 0 < cores < math.inf else None
