"""A bank from labelled images, through the graph's `terms` output: a score moves to another scale without training.

A vote for an image is the exemplar's opinion score plus the difference that the model predicts. The model predicts it
in the units it was trained in, so for labels on another scale the difference goes through a straight line, the bank's
`scale` and `offset`: least squares of the labels over the predictions, each image left out of the votes for itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import calibration, golden
from .bank import Bank
from .errors import PscrError, Status
from .labelled_images import Labelled, check_labels, patches_of
from .samplings import Pixels
from .score_scale import ScoreScale
from .scorer import Scorer

Floats = NDArray[np.float64]
_FEWEST = 3  # images
_GOOD_SCALE = 0.1  # relative standard error of the scale that is good enough
_TINY = 1e-12  # of a sum of squares that is divided by
_CLEAR = 2.0  # standard errors by which a bank must be better than a constant


@dataclass(frozen=True)
class LeaveOneOut:
    """How well a bank scores its own images, each scored by the others only; errors in the labels' units.

    rmse, mae: of the scores. srcc, plcc: with the labels. rmse_of_mean: of giving every image the others' mean label,
    which needs no model. scale_error: standard error of the scale, in units of it; 0 where it was not fitted.
    clearly_better: by how many standard errors the squared errors are below those of the mean, paired over images.
    """

    images: int
    rmse: float
    mae: float
    srcc: float
    plcc: float
    rmse_of_mean: float
    scale: float
    offset: float
    scale_error: float
    clearly_better: float

    def warnings(self) -> list[str]:
        """Why this bank should not be trusted yet, in whole sentences."""
        found = []
        if self.clearly_better < _CLEAR:
            found.append(
                f"{self.images} images are too few, or their labels do not follow this model's score: the "
                f"leave-one-out error {self.rmse:.3f} is not clearly below {self.rmse_of_mean:.3f}, the error of "
                "always giving the mean"
            )
        elif self.scale_error > _GOOD_SCALE:
            needed = math.ceil(self.images * (self.scale_error / _GOOD_SCALE) ** 2)
            found.append(
                f"{self.images} images are too few for a firm scale: it is known to ±{100 * self.scale_error:.0f} % "
                f"only; about {needed} such images would bring that to {100 * _GOOD_SCALE:.0f} %"
            )
        return found


def build(
    model: str | os.PathLike[str],
    images: Sequence[Labelled],
    device: str = "auto",
    threads: int | None = None,
    *,
    fit_scale: bool = True,
    scale: ScoreScale | None = None,
    step: Callable[[], None] = lambda: None,
) -> tuple[Bank, LeaveOneOut]:
    """Build a bank and measure it. Every image passes the network twice: for its terms, then for the others' votes.

    model, device, threads: as `open` takes them. images: at least 3, names and opinion scores.
    fit_scale: False where the labels are on the model's own scale: then the line is not fitted, scale 1 and offset 0.
    scale: what the labels mean; None for an opinion score within the labels' own range, the higher the better.
    step: called after each image of each of the two passes.

    Returns the bank, whose `about` holds the leave-one-out figures and, from 20 images on, the calibration.
    Raises:
        PscrError: INVALID_ARGUMENT: fewer images; labels that are all the same or not finite, outside of the scale's
            range, or that run against it: better images with worse labels; a model without exemplars; errors of `open`
            and `score`, with the image's name.
    """
    scores, scale = check_labels([image.score for image in images], scale, _FEWEST)
    with Scorer(model, device, threads) as scorer:
        terms = [scorer.terms(patches)[0] for patches in patches_of(scorer, images, step)]
        probe = scorer.terms(scorer.patches(next(iter(golden.golden_images().values())), pixel_format="rgb")[None])[0]
        about: dict[str, Any] = {"model": scorer.manifest.name, "version": scorer.manifest.version}
        upwards = scorer.manifest.score.higher_is_better == scale.higher_is_better
    if not upwards and not fit_scale:
        found = "labels on the model's own scale, and a scale that runs the other way"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; let the scale be fitted")
    names = tuple(image.name for image in images)
    plain = Bank(np.stack(terms).astype(np.float32), np.zeros(len(images), np.float32), names)
    means: list[float] = []

    def differences(scorer: Scorer) -> Iterator[NDArray[np.float32]]:
        for patches in patches_of(scorer, images, step):
            votes = _votes(scorer, patches)
            means.append(float(votes.mean()))
            yield votes

    with Scorer(model, device, threads, bank=plain) as scorer:
        figures, predicted, spreads = leave_one_out(differences(scorer), scores, fit_scale)
    _check_direction(means, scores, scale, upwards)
    about["leave_one_out"] = {key: round(value, 6) for key, value in vars(figures).items()}
    if len(images) >= calibration.FEWEST:
        protocol = f"the {len(images)} exemplars, each left out of its own votes"
        about["calibration"] = calibration.measure(predicted, spreads, scores, protocol).to_dict()
    bank = replace(
        plain,
        scores=scores.astype(np.float32),
        scale=figures.scale,
        offset=figures.offset,
        probe=probe,
        about=about,
        score=scale,
    )
    return bank, figures


def _votes(scorer: Scorer, patches: Pixels) -> NDArray[np.float32]:
    """The votes [K] of one image [1,P,S,S,3]."""
    votes = scorer.infer(patches).votes
    if votes is None:  # unreachable by `Scorer`, which opens no bank for a family without votes
        raise PscrError(Status.INVALID_ARGUMENT, f"{scorer.manifest.name} has no exemplars, so it takes no bank")
    return votes[0]


def _check_direction(predicted: Sequence[float], scores: Floats, scale: ScoreScale, upwards: bool) -> None:
    """Refuse labels that run against the model's scores: with them `rank` would put the worst image first.

    predicted: each image's mean difference to the exemplars.
    upwards: whether a higher label and a higher score of the model are both the better one, or both the worse one.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    found = calibration.correlation(predicted, scores)
    if (found > 0) == upwards or found == 0:
        return
    better = "higher" if scale.higher_is_better else "lower"
    told = (
        f"the labels run against the model's scores (correlation {found:+.2f} where a {better} label is the better one)"
    )
    advice = "where a lower label is better, say --lower-is-better"
    advice = advice if scale.higher_is_better else "leave --lower-is-better out, or look at the labels"
    raise PscrError(Status.INVALID_ARGUMENT, f"{told}; {advice}")


def leave_one_out(
    differences: Iterable[NDArray[Any]], scores: Floats, fit_scale: bool = True
) -> tuple[LeaveOneOut, Floats, Floats]:
    """Score every image by a bank of the others, whose line is fitted without it: neither its label nor its pixels.

    differences: K rows [K], the predicted opinion score of image i minus that of exemplar k, in the model's units. They
        are read one at a time, and no memory grows with K squared.
    scores: [K], the labels, K at least 3.

    Returns the figures, the scores [K] and their spreads [K].
    Raises:
        PscrError: INVALID_ARGUMENT where the predictions are all the same, so that no scale can be fitted.
    """
    count = len(scores)
    mean = (scores.sum() - scores) / (count - 1)
    label = scores - mean
    rows = _Rows.read(differences, scores)
    predicted = rows.predicted
    scale, offset, scale_error = 1.0, 0.0, 0.0
    scales, offsets = np.ones(count), np.zeros(count)
    if fit_scale:
        centred = predicted - predicted.mean()
        square = float(centred @ centred)
        scale = float(centred @ label) / max(square, _TINY)
        offset = float(label.mean() - scale * predicted.mean())
        if not square > 1e-9 * count or scale == 0:
            found = "the model gives these images scores that are all the same"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected images of different quality")
        residual = label - scale * predicted - offset
        scale_error = math.sqrt(float(residual @ residual) / max(count - 2, 1) / square) / abs(scale)
        scales, offsets = rows.lines_of_the_others(scores)
    found_scores = mean + offsets + scales * predicted
    spreads = np.sqrt(np.maximum(rows.label_variance + scales * (2 * rows.covariance + scales * rows.variance), 0))
    gain = (scores - mean) ** 2 - (scores - found_scores) ** 2
    deviation = float(gain.std(ddof=1)) / math.sqrt(count)
    figures = LeaveOneOut(
        images=count,
        rmse=float(np.sqrt(np.mean((scores - found_scores) ** 2))),
        mae=float(np.mean(np.abs(scores - found_scores))),
        srcc=calibration.correlation(calibration.ranks(found_scores), calibration.ranks(scores)),
        plcc=calibration.correlation(found_scores, scores),
        rmse_of_mean=float(np.sqrt(np.mean(label**2))),
        scale=scale,
        offset=offset,
        scale_error=scale_error,
        clearly_better=float(gain.mean()) / deviation if deviation else 0.0,
    )
    return figures, found_scores, spreads


class _Rows(NamedTuple):
    """What leaving one out needs of the differences d, all [K].

    predicted: p_i, the mean of d_ik over k other than i, as are variance, of d_ik; covariance, of d_ik and the labels;
        label_variance, of the labels.
    moved, squares, products, labelled: sums over j other than i of e_ji, of its square, of p_j e_ji and of s_j e_ji,
        where s are the labels about their mean and e_ji = (p_j - d_ji) / (K - 2), by which image i out of the bank
        moves the prediction for image j.
    """

    predicted: Floats
    variance: Floats
    covariance: Floats
    label_variance: Floats
    moved: Floats
    squares: Floats
    products: Floats
    labelled: Floats

    @classmethod
    def read(cls, differences: Iterable[NDArray[Any]], scores: Floats) -> _Rows:
        """From the rows of d, each looked at once."""
        count = len(scores)
        centred = scores - scores.mean()
        found = cls(*(np.zeros(count) for _ in cls._fields))
        for image, row in enumerate(differences):
            others = np.arange(count) != image
            votes = np.asarray(row, np.float64)
            mean = float(votes[others].mean())
            apart, labels = votes[others] - mean, centred[others] - centred[others].mean()
            found.predicted[image] = mean
            found.variance[image], found.label_variance[image] = np.mean(apart**2), np.mean(labels**2)
            found.covariance[image] = np.mean(apart * labels)
            moves = np.where(others, mean - votes, 0) / (count - 2)
            found.moved[:] += moves
            found.squares[:] += moves**2
            found.products[:] += mean * moves
            found.labelled[:] += centred[image] * moves
        return found

    def lines_of_the_others(self, scores: Floats) -> tuple[Floats, Floats]:
        """Scale and offset [K] that a bank without image i has: least squares over K - 1 images, each left out in turn.

        There image j is predicted as x_ji = p_j + e_ji, and its label lies s_j (K - 1) / (K - 2) above the mean of the
        others', and a constant. The labels' mean is 0, and the line goes through it.
        """
        rest = len(scores) - 1
        labels, centred = scores - scores.mean(), self.predicted - self.predicted.mean()
        total = self.moved - centred  # of x about the mean of p, over j other than i
        square = float(centred @ centred) - centred**2 + self.squares - total**2 / rest
        square += 2 * (self.products - self.predicted.mean() * self.moved)
        product = float(centred @ labels) - centred * labels + self.labelled + total * labels / rest
        scales = product / np.maximum(square, _TINY) * rest / (rest - 1)
        return scales, -scales * (self.predicted.mean() + total / rest)
