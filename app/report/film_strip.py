"""What a report shows of a clip beside its score: how the score runs, and some of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from ..runtime.clip import ClipResult, read_frames
from ..runtime.errors import PscrError
from ..runtime.frame_sampling import FrameSampling
from . import pictures

_FRAMES = 8  # of a strip
_SIDE = 160  # pixels of their longer side


@dataclass(frozen=True)
class StripFrame:
    """One frame of a strip. time: seconds from the start. picture: a WebP file. lowest: whether it scores lowest."""

    time: float
    score: float
    picture: bytes
    lowest: bool


@dataclass(frozen=True)
class FilmStrip:
    """A clip as it is shown. times, scores: seconds and score of each sampled frame; lowest: those of the lowest one.

    frames: some of them, in order; none where pictures are not wanted, or where the file is gone.
    thumbnail, large: WebP files of the frame that scores lowest, or nothing.
    """

    times: Sequence[float]
    scores: Sequence[float]
    lowest: tuple[float, float]
    frames: Sequence[StripFrame] = ()
    thumbnail: bytes = b""
    large: bytes = b""


def film_strip(clip: ClipResult, sampling: FrameSampling, side: int, large: int, max_pixels: int) -> FilmStrip:
    """The strip of a clip, for which its file is decoded once more.

    sampling: by which the clip was scored. side, large: longer sides of the two pictures of its lowest frame, in
    pixels; without the first there are no pictures.
    """
    scores = [result.score for result in clip.results]
    bare = FilmStrip(clip.times, scores, clip.lowest)
    if not side:
        return bare
    chosen = {clip.times[number]: scores[number] for number in _chosen(scores)}
    frames, of_lowest = [], (b"", b"")
    try:
        with closing(read_frames(clip.path, sampling, chosen.__contains__, max_pixels)) as found:
            for time, pixels in found:
                is_lowest = time == clip.lowest[0]
                frames.append(StripFrame(time, chosen[time], pictures.from_rgb(pixels, _SIDE), is_lowest))
                if is_lowest:
                    of_lowest = pictures.from_rgb(pixels, side), pictures.from_rgb(pixels, large)
                if len(frames) == len(chosen):
                    break
    except PscrError:  # it is gone, or changed, since it was scored
        return bare
    return FilmStrip(clip.times, scores, clip.lowest, frames, *of_lowest)


def _chosen(scores: Sequence[float]) -> set[int]:
    """The numbers of the frames to show: evenly spread, of which the nearest gives its place to the lowest one."""
    lowest = scores.index(min(scores))
    spread = list(FrameSampling(_FRAMES).places(len(scores), 1))
    nearest = min(spread, key=lambda number: abs(number - lowest))
    return {lowest if number == nearest else number for number in spread}
