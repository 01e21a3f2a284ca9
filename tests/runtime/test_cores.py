"""The cores that may be used: those of the affinity, and no more than the container's quota, of either version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pscr.runtime import cores


def test_the_affinity_decides_where_there_is_no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "quota", lambda: None)
    assert cores.usable() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("allowed", "expected"), [(0.5, 1), (1.0, 1), (1e6, len(os.sched_getaffinity(0)))])
def test_a_quota_is_rounded_up_and_never_adds_cores(
    monkeypatch: pytest.MonkeyPatch, allowed: float, expected: int
) -> None:
    monkeypatch.setattr(cores, "quota", lambda: allowed)
    assert cores.usable() == expected


def groups(folder: Path, text: str) -> Path:
    path = folder / "cgroup"
    path.write_text(text)
    return path


def test_the_second_version_counts_the_smallest_quota_on_the_way_to_the_root(tmp_path: Path) -> None:
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    assert cores.quota(groups(tmp_path, "0::/outer/inner\n"), tmp_path / "fs") == 1.5


def test_the_first_version_is_read_too(tmp_path: Path) -> None:
    place = tmp_path / "fs" / "cpu,cpuacct" / "box"
    place.mkdir(parents=True)
    (place / "cpu.cfs_quota_us").write_text("300000\n")
    (place / "cpu.cfs_period_us").write_text("100000\n")
    listed = "12:memory:/box\n5:cpu,cpuacct:/box\n"
    assert cores.quota(groups(tmp_path, listed), tmp_path / "fs") == 3.0
    (place / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores.quota(groups(tmp_path, listed), tmp_path / "fs") is None


@pytest.mark.parametrize("text", ["", "0::/\n", "nonsense\n", "0::/../../etc\n"])
def test_what_cannot_be_read_sets_no_quota(tmp_path: Path, text: str) -> None:
    assert cores.quota(groups(tmp_path, text), tmp_path / "fs") is None
    assert cores.quota(tmp_path / "none", tmp_path / "fs") is None
