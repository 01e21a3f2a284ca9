"""Where the time of one score goes: decode, sample, copy, compute and the rest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..runtime.image import load
from ..runtime.samplings import Pixels
from ..runtime.scorer import Scorer
from .statistics import WINDOWS, is_stable, percentile, timed

WARM_UP = 3
KEYS = ("stage",)
Bare = Callable[[Pixels], Callable[[int], object]]  # patches [1,P,S,S,3] made ready outside the time; then a run


def measure(
    scorer: Scorer, images: Sequence[bytes], seconds: float, bare: Bare | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each stage and turn. A turn scores one image, then does each part of that work by itself.

    score: the whole. decode, sample: encoded bytes to pixels, pixels to patches. infer: `Scorer.infer` on ready
    patches. rest: score less these three, which is what the Scorer itself costs.
    With `bare`: compute, the same graph in a bare session; copy, infer less compute; overhead, score less compute.
    """
    sampling, names = scorer.manifest.sampling, ["score", "decode", "sample", "infer", "rest"]
    if bare is not None:
        names += ["compute", "copy", "overhead"]
    found: dict[str, list[float]] = {name: [] for name in names}
    turn, ends = 0, time.perf_counter() + seconds
    while turn < WARM_UP + 2 * WINDOWS or time.perf_counter() < ends:
        data = images[turn % len(images)]
        one = {"score": timed(lambda _, data=data: scorer.score(data), 0)}  # type: ignore[misc]
        started = time.perf_counter()
        pixels = load(data)
        decoded = time.perf_counter()
        patches = sampling.cut(pixels)[None]
        cut = time.perf_counter()
        scorer.infer(patches)
        one |= {"decode": 1000 * (decoded - started), "sample": 1000 * (cut - decoded)}
        one["infer"] = 1000 * (time.perf_counter() - cut)
        one["rest"] = one["score"] - one["decode"] - one["sample"] - one["infer"]
        if bare is not None:
            one["compute"] = timed(bare(patches), turn)
            one |= {"copy": one["infer"] - one["compute"], "overhead": one["score"] - one["compute"]}
        if turn == WARM_UP:
            ends = time.perf_counter() + seconds
        if turn >= WARM_UP:
            for name in names:
                found[name].append(one[name])
        turn += 1
    return found


def rows(found: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A row for each stage: median and 90th percentile, and the share of the whole score's median."""
    whole = statistics.median(found["score"])
    return [
        {
            "stage": name,
            "count": len(values),
            "p50_ms": round(statistics.median(values), 3),
            "p90_ms": round(percentile(values, 90), 3),
            "share": round(statistics.median(values) / whole, 4),
            "stable": is_stable(values) if name in ("score", "infer", "compute") else "",
        }
        for name, values in found.items()
    ]
