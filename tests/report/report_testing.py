"""What the report's tests share: hostile names, real images, and a page that is open in a browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "\"><svg onload=alert(1)>' .png",
    "{{7*7}} &amp; {% raw %}.png",
    "\u202egnp.evil.png",
    "new\nline\rreturn.png",
    "שלום 画像 é.png",
    "long " * 40 + ".png",
)
PROMPT = '</script><script>document.title = "taken"</script>, "a cat"'


def write(path: Path, seed: int, side: int = 48) -> Path:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", cv2.resize(coarse, (side, side)))[1].tobytes())
    return path


@dataclass
class Opened:
    """A page in the browser, and what went on while it was open."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def files(self) -> list[str]:
        """The file names in the table, in the order shown."""
        return [text.strip() for text in self.page.locator("#images tbody th > bdi").all_inner_texts()]

    def scores(self) -> list[float]:
        cells = self.page.locator("#images tbody tr > td.n:not(.wide)").all_inner_texts()
        return [float(cell) for cell in cells if cell != "–"]

    def status(self) -> str:
        return str(self.page.locator("#images [role=status]").inner_text())
