"""`pscr report`: one page on many images, and where they come from several generators, how these compare."""

from __future__ import annotations

import argparse
import io
import itertools
import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ..console import UsageError, err, interruptible
from ..progress import Progress
from ..runtime import output_file
from ..runtime.errors import PscrError, as_error
from ..runtime.frame_sampling import FrameSampling
from ..runtime.ordered import in_order as in_threads
from ..runtime.pipeline import failed
from ..runtime.scorer import Result, Scorer
from ..tables.clips import Clips, clip_row
from ..tables.fields import Columns
from ..tables.formats import BY_ENDING, CsvWriter, read_results
from ..tables.inputs import EXTENSIONS, Item, in_words
from ..tables.results_file import Tally
from ..tables.scoring import check_diagnosis, check_same_model, in_order
from ..voting import opened
from . import pictures
from .assemble import CARD_SIDE, Settings, assemble, maps_of
from .data import Image, Named, by_folder, gather, labelled, match
from .film_strip import FilmStrip, film_strip
from .labels import Labels
from .page import render

_Input = tuple[Named, "Result | None", bool]  # with the result that is there already, and whether it is a clip
_AHEAD = 8  # images that are decoded for their thumbnails before they are asked for


def run(options: argparse.Namespace, clips: Clips) -> int:
    """Write the report that the command line asks for; returns 1 where an image has no score.

    clips: how videos and animations are scored.

    Raises:
        UsageError: nothing to report on, or a file of labels or results that does not fit.
        PscrError: the model, the bank or the device cannot be used, or the output not written.
    """
    _check_output(options.output)
    earlier = read_results(Path(options.scores)) if options.scores else []
    left_out: Counter[str] = Counter()
    named = _named(options, earlier, clips, left_out)
    units, matching = match(named, not options.unpaired)
    with (
        interruptible(),
        opened(options, max_pixels=options.max_pixels) as scorer,
    ):
        check_diagnosis(scorer, options.diagnose)
        any_clip = replace(clips, sought=True)  # how it was sampled is not known
        known = (one for one in earlier if one.ok and not any_clip.holds(Item(one.path or "")))
        promised = ((one.path or "", one.score) for one in known)
        check_same_model(scorer, promised, f"--scores: {options.scores}")
        images = _look(scorer, named, units, earlier, clips, options)
        with _scores_kept([image.result for image in images], options.output):
            settings = _settings(options, earlier, clips.sampling)
            progress = Progress(maps_of(len(images), settings), options.quiet)
            try:
                report = assemble(images, matching, scorer, settings, progress.step)
            finally:
                progress.hide()
            output_file.write(options.output, render(report).encode())
    tally = Tally()
    tally.left_out = in_words(left_out)
    for image in images:
        tally.add(image.result.score)
    if not options.quiet:
        err(f"pscr: {tally}{'' if options.output == output_file.STDOUT else f', to {options.output}'}")
    return 1 if tally.failed else 0


@contextmanager
def _scores_kept(results: Sequence[Result], output: str) -> Iterator[None]:
    """Where the page cannot be drawn or written, keep the results in a csv file beside it, and say how to go on."""
    try:
        yield
    except Exception:
        place = Path(output if output_file.is_regular(output) else "report.html")
        endings = itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
        names = (place.with_name(f"{place.name}.scores{ending}.csv") for ending in endings)
        file = next(name for name in names if not os.path.lexists(name))
        rows = io.BytesIO()
        writer = CsvWriter(rows, Columns(diagnosed=any(result.diagnosis for result in results)))
        writer.header("")
        for result in results:
            writer.row(result)
        with suppress(OSError):
            output_file.write(file, rows.getvalue())
            err(f"pscr: the scores are kept: go on from them with --scores {file}")
        raise


def _named(options: argparse.Namespace, earlier: Sequence[Result], clips: Clips, left_out: Counter[str]) -> list[Named]:
    """The images with their groups and prompts.

    Raises:
        UsageError: there are none, or a file of labels does not fit them.
    """
    if not options.paths and not options.scores:
        raise UsageError("found no PATH; expected images to report on, or --scores with the results of pscr score")
    if options.paths:
        named = gather(options.paths, left_out, clips.besides)
    else:
        named = [Named(Item(result.path or "")) for result in earlier]
    if not named or all(one.item.problem for one in named):
        found = f"{named[0].item.path}: {named[0].item.problem}" if named else f"{options.scores}: it has no rows"
        raise UsageError(f"nothing to report on in {found}")
    if options.by_folder:
        named = by_folder(named)
    files = [
        Labels(Path(file), options.path_column, column) if file else None
        for file, column in ((options.groups, options.group_column), (options.prompts, options.prompt_column))
    ]
    named = labelled(named, *files)
    for file, kind, there in (
        (options.groups, "group", any(one.group for one in named)),
        (options.prompts, "prompt", any(one.prompt for one in named)),
    ):
        if file and not there:
            example = named[0].item.path
            raise UsageError(f"{file} names none of the images; expected a row with a {kind} for {example}")
    return named


def _look(
    scorer: Scorer,
    named: Sequence[Named],
    units: Sequence[str],
    earlier: Sequence[Result],
    clips: Clips,
    options: argparse.Namespace,
) -> list[Image]:
    """Score every image and clip, unless its result is there already, and read it for its digest and its pictures."""
    known = {os.path.abspath(result.path or ""): result for result in earlier}  # noqa: PTH100  nothing is resolved
    there = [known.get(os.path.abspath(one.item.path)) for one in named]  # noqa: PTH100
    inputs = [(one, result, clips.holds(one.item)) for one, result in zip(named, there, strict=True)]
    new = in_order(scorer, (one.item for one, result, is_clip in inputs if result is None and not is_clip), None)

    def seen(given: _Input) -> tuple[str, bytes]:
        one, _, is_clip = given
        return ("", b"") if is_clip else pictures.look(one.item.path, options.thumbnails, options.max_pixels)

    looked: Generator[tuple[_Input, tuple[str, bytes] | PscrError], None, None] = in_threads(seen, inputs, 2, _AHEAD)
    progress = Progress(len(named), options.quiet)
    images = []
    try:
        with closing(new), closing(looked):
            for ((one, result, is_clip), found), unit in zip(looked, units, strict=True):
                digest, thumbnail = ("", b"") if isinstance(found, PscrError) else found
                strip = None
                if result is not None:
                    scored = replace(result, path=one.item.path)
                elif is_clip:
                    scored, strip = _look_at_clip(scorer, one.item.path, clips, options)
                    thumbnail = strip.thumbnail if strip else b""
                else:
                    scored = next(new)
                images.append(Image(scored, one.group, one.prompt, unit, digest, thumbnail, is_clip, strip))
                progress.step()
    finally:
        progress.hide()
    return images


def _look_at_clip(
    scorer: Scorer, path: str, clips: Clips, options: argparse.Namespace
) -> tuple[Result, FilmStrip | None]:
    """Score a clip; its result, and what is shown of it where it has a score."""
    try:
        clip = clips.score(scorer, path)
    except Exception as error:
        return failed(path, as_error(error)), None
    return clip_row(clip), film_strip(clip, clips.sampling, options.thumbnails, CARD_SIDE, options.max_pixels)


def _settings(options: argparse.Namespace, earlier: Sequence[Result], sampling: FrameSampling) -> Settings:
    source = "Every image was decoded at its full size and scored once, by this program."
    if earlier:
        source = (
            f"Scores were taken from {Path(options.scores).name}, a file of pscr score; images that it does not name "
            "were scored by this program. The model below gave the same scores to the first of them, tried again."
        )
    return Settings(
        options.title or "",
        options.show,
        not options.no_maps,
        options.thumbnails > 0,
        options.max_pixels,
        source,
        options.diagnose,
        sampling,
    )


def _check_output(output: str) -> None:
    ending = Path(output).suffix.lower()
    if ending in EXTENSIONS or ending in BY_ENDING:
        raise UsageError(f"-o {output}: a report is one HTML page; expected a name such as report.html")
    output_file.check(output)
