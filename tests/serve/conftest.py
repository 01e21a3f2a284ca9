"""One service of the tiny model for all tests that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from serve_process import Served, serving

import pscr


@pytest.fixture(scope="session")
def served(tiny_model: Path) -> Iterator[Served]:
    words = ("--batch", 4, "--max-wait-ms", 20, "--max-mib", 1, "--max-images", 5, "--max-pixels", 1_000_000)
    with serving(tiny_model, *words, "--body-seconds", 5) as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as one:
        yield one


@pytest.fixture(scope="session")
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    with pscr.open(tiny_model, device="cpu", threads=1) as one:
        yield one
