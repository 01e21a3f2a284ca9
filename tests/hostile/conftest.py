"""What holds for all hostile folders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed, not by the libraries underneath either."""
    yield
    assert capfd.readouterr() == ("", "")
