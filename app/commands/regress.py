"""`pscr regress`: a regressor from labelled images, on the features of any model, in seconds and without torch."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from .. import labelled
from ..console import columns, err, interruptible, one_line, out
from ..progress import Progress
from ..runtime.calibration import Calibration
from ..runtime.regressor import Regressor
from ..runtime.regressor_building import Fit, features, fit
from . import options as shared

DESCRIPTION = """\
Fit a linear regressor on what a model finds in labelled images: a score on your own scale, for your own kind of images.
It takes the place of what votes in the model, by --head, in every verb that takes a --bank, and in every engine.
"""


def add(verbs: shared.Verbs) -> None:
    regress = shared.add_verb(
        verbs, "regress", "fit a regressor from labelled images, without training", run, description=DESCRIPTION
    )
    labelled.add(regress, "HEAD.npz")
    shared.model(regress)
    shared.device(regress, precision=False)
    shared.threads(regress)
    regress.add_argument(
        "--group-column", metavar="NAME", default="", help="content, such as the prompt: its images are left out as one"
    )
    regress.add_argument(
        "--regressors",
        type=shared.positive,
        metavar="K",
        default=10,
        help="of bootstrap samples, whose deviation is the spread; 1 for none (default: %(default)s)",
    )
    regress.add_argument("--seed", type=shared.natural, default=0, help="of parts and samples (default: %(default)s)")
    shared.json(regress)
    shared.quiet(regress, "errors only")


def run(options: argparse.Namespace) -> int:
    """Fit on a csv of image paths and opinion scores, and say how well it does on images that were left out.

    Raises:
        UsageError: the output is not called like a head.
        PscrError: the labels, an image, the model or the device cannot be used, or the output not written.
    """
    output = labelled.check_output(options)
    images, groups = labelled.read(options, options.group_column)
    scores = [image.score for image in images]
    scale = labelled.scale(options, scores)
    progress = Progress(len(images), options.quiet)
    with interruptible():
        try:
            found = features(options.model, images, options.device, options.threads, step=progress.step)
        finally:
            progress.hide()
        made, figures = fit(found, scores, groups=groups, regressors=options.regressors, scale=scale, seed=options.seed)
    made = replace(made, about={**made.about, "labels": labelled.source(options)})
    labelled.write(made, output)
    if options.json:
        out(json.dumps({"score": made.score.to_dict(), "about": made.about}))
    elif not options.quiet:
        for line in columns(_lines(options.output, made, figures).items()):
            out(one_line(line))
    if figures.rmse >= figures.rmse_of_mean:
        err("pscr: warning: on images that were left out this is no better than giving every image the mean label")
    return 0


def _lines(output: str, made: Regressor, figures: Fit) -> dict[str, str]:
    lines = {
        "head": f"{output}: {made.in_words()}",
        "score": f"{made.score.meaning}; {made.score}",
        "left out": f"{figures.images} images of {figures.groups} groups, in five parts: SRCC {figures.srcc:.3f}, "
        f"PLCC {figures.plcc:.3f}, RMSE {figures.rmse:.3g} ({figures.rmse_of_mean:.3g} by the mean)",
    }
    lines |= {
        f"{point.labels} labels": f"SRCC {point.srcc:.3f}, PLCC {point.plcc:.3f}, mean of ten draws"
        for point in figures.curve
    }
    if "calibration" in made.about:
        lines["interval"] = Calibration.from_dict(made.about["calibration"], "the head").in_words()
    return lines
