"""`python -m pscr.training.diagnose`: what lets a model say what an image looks like, fitted and judged."""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime import output_file
from ..runtime.diagnosis import FILE, Classifier
from ..runtime.errors import OUTSIDE, PscrError, Status
from ..runtime.manifest import Manifest
from ..runtime.model_folder import ModelFolder
from ..runtime.scorer import Scorer
from .diagnosis import Figures, fit, joined, judge, look
from .image_folders import images_below
from .options import option, parser, read


@dataclass(frozen=True)
class Diagnose:
    """The options of the command."""

    model: str = option(help="a model's name, or its folder", positional=True)
    images: tuple[Path, ...] = option(help="folders of good images, which are distorted for the fit", metavar="DIR")
    held_out: tuple[Path, ...] = option(help="folders of others, which it is judged on", metavar="DIR")
    clean: tuple[Path, ...] = option((), help="folders of more good images, taken as they are", metavar="DIR")
    output: Path | None = option(None, help=f"write the {FILE} there", short="-o", metavar="FILE")
    add: bool = option(False, help="put it into the model's folder, and name it in the manifest")
    levels: int = option(2, help="random levels of each type of distortion, for every image", choices=range(1, 6))
    seed: int = option(0, help="of levels, distortions and parts", metavar="N")
    device: str = option("auto", help="as of pscr score")
    threads: int | None = option(None, help="CPU threads (default: all cores)", metavar="N")


def run(options: Diagnose) -> Figures:
    """Fit a classifier, judge it and write it; its figures, which it has in its `about` too.

    Raises:
        PscrError: INVALID_ARGUMENT for nothing to write; those of `images_below` and `Scorer`.
        OSError: the file cannot be written.
    """
    if not (options.output or options.add):
        raise PscrError(Status.INVALID_ARGUMENT, "nothing would be written; expected -o FILE, or --add")
    files, others, clean = map(images_below, (options.images, options.held_out, options.clean))
    with Scorer(options.model, options.device, options.threads) as scorer:
        manifest = scorer.manifest
        judged = look(scorer, others, options.levels, options.seed + len(files))
        fitted = look(scorer, files, options.levels, options.seed)
        if clean:
            fitted = joined(fitted, look(scorer, clean, 0, options.seed))
        classifier = fit(fitted, scorer, options.seed)
    figures = judge(classifier, judged)
    about = {
        "model": manifest.name,
        "version": manifest.version,
        "fit": {"images": len(files), "clean": len(clean), "levels": options.levels, "seed": options.seed},
        "figures": dataclasses.asdict(figures),
    }
    classifier = dataclasses.replace(classifier, about=about)
    if options.output:
        classifier.write(options.output)
    if options.add:
        _add(classifier, ModelFolder.read(options.model).path)
    return figures


def _add(classifier: Classifier, folder: Path) -> None:
    """Put the classifier into a model's folder, and name it in the manifest."""
    manifest = Manifest.read(folder)
    data = io.BytesIO()
    classifier.write(data)
    output_file.write(folder / FILE, data.getvalue())
    manifest.write(folder, [*(name for name in manifest.files if name != FILE), FILE])


def in_words(figures: Figures) -> str:
    """The figures as a table for people, in percent."""
    width = max(map(len, figures.kinds))
    by_level = ", ".join(f"{level}: {_percent(share)} %" for level, share in enumerate(figures.right, 1))
    lines = [
        f"{figures.images} images of {figures.contents} contents that it was not fitted on",
        f"right at the levels 3 to 5: {_percent(figures.from_3)} % (by level {by_level})",
        f"right where it names a kind, at all levels: {_percent(figures.named)} %",
        f"undistorted found clean: {_percent(figures.clean)} %",
        f"of distortions that it is to let pass, found clean: {_percent(figures.passed)} %",
        f"rank correlation of the degree with people's mean: {figures.degree_srcc:.3f}",
        "",
        f"{'levels 3 to 5, percent':<{width}}" + "".join(f"{kind[:11]:>13}" for kind in figures.kinds),
    ]
    for kind, row in zip(figures.kinds, figures.confusion, strict=True):
        lines.append(f"{kind:<{width}}" + "".join(f"{_percent(share):>13}" for share in row))
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def command() -> argparse.ArgumentParser:
    """The parser of the command line."""
    return parser("python -m pscr.training.diagnose", "Fit what lets a model say what an image looks like.", Diagnose)


def main(words: Sequence[str] | None = None) -> int:
    """Fit, judge, write, print. Returns 0; the exit code of an error's status."""
    asked = command()
    try:
        sys.stdout.write(in_words(run(read(Diagnose, asked, words))))
    except PscrError as error:
        sys.stderr.write(f"{asked.prog}: error: {error.message}\n")
        return OUTSIDE[error.status].exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
