"""Databases of images with human opinion scores: AGIQA-1K, AGIQA-3K, AIGCIQA2023, CLIVE, AVT-AI and any CSV file.

Everything is checked while it is read, so that a run never trains on a label that is not what it seems to be: a
missing image, a name that stands twice, a number that is none. Messages name the file and its row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.errors import PscrError, Status
from .label_files import Item, Row, bad, cell_of_words, columns, items, lines, matrix, sheet

MEANINGS = {
    "quality": "mean opinion score of quality",
    "alignment": "mean opinion score of text-to-image alignment",
    "authenticity": "mean opinion score of authenticity",
    "correspondence": "mean opinion score of text-to-image correspondence",
    "appeal": "mean opinion score of appeal",
    "realism": "mean opinion score of realism",
}
AGIQA1K_TWICE = "dreamStudio_8_9_1_1.jpg"
AIGCIQA2023_IMAGES = 2400
CLIVE_IMAGES, CLIVE_TRAINING = 1169, 7
AVT_AI_PHOTOGRAPHS = "own"


@dataclass(frozen=True)
class Database:
    """Labelled images in the order of their label file.

    name: goes into the manifest. label: the column or file that the scores stand in. scale: the lowest and highest
    possible score, or, where that is not `declared`, the lowest and highest that is there. meaning: what people were
    asked, for the manifest. notes: what was left out, in whole sentences.
    """

    name: str
    label: str
    scale: tuple[float, float]
    items: tuple[Item, ...]
    meaning: str = MEANINGS["quality"]
    notes: tuple[str, ...] = ()
    declared: bool = True


def load(
    spec: str,
    *,
    label: str = "quality",
    path_column: str = "path",
    score_column: str = "score",
    group_column: str = "",
    more_columns: Sequence[str] = (),
) -> Database:
    """Read the database that `spec` names.

    spec: "agiqa1k:DIR" (AIGC_MOS_Zscore.xlsx and file/), "agiqa3k:DIR" (data.csv and images/), "aigciqa2023:DIR"
        (DATA/MOS/ and Image/allimg/), "clive:DIR" (Data/ and Images/), "avt_ai:DIR" (images/ and the folders of
        ratings), each as its authors publish it, or "csv:FILE". Of CLIVE and AVT-AI a folder with labels.csv is taken
        too: columns path and score, or path, quality, appeal, realism, generator and prompt.
    label: what the scores judge. agiqa1k, clive: quality; agiqa3k: quality or alignment; aigciqa2023: quality,
        authenticity or correspondence; avt_ai: quality, appeal or realism; csv: any word, which the exported model's
        manifest then repeats.
    path_column, score_column, group_column: of a `csv:` file. Its paths may be relative to the file's folder;
        without a group column every image is a group of its own.
    more_columns: of a `csv:` file, by which its images can be grouped too.

    Raises:
        PscrError: INVALID_ARGUMENT for a bad spec or label, and for a label file that cannot be used (another sheet,
            column or variable; a duplicate name; a score that is no finite number); FILE_NOT_FOUND for a missing
            label file or image.
    """
    kind, _, location = spec.partition(":")
    if location and kind in _PUBLISHED:
        known = _PUBLISHED[kind].labels
        if label not in known:
            found = f"{kind} has no label {label!r}; expected {' or '.join(known)}"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        return _PUBLISHED[kind].read(Path(location), label, known[label])
    if location and kind == "csv":
        return _csv(Path(location), label, path_column, score_column, group_column, more_columns)
    raise PscrError(Status.INVALID_ARGUMENT, f"database {spec!r} is not known; expected {EXPECTED}")


def with_label(spec: str, label: str) -> tuple[str, str]:
    """A spec that may end in "@LABEL", as "avt_ai:DIR@appeal", in two: what `load` takes, and the label or `label`.

    A file or folder whose own name ends so is taken by its name.
    """
    location, at, word = spec.rpartition("@")
    if not at or Path(word).name != word or Path(spec.partition(":")[2]).exists():
        return spec, label
    return location, word


def same_place(one: str, other: str) -> bool:
    """Whether two specs, as `load` takes them, name the same database, one perhaps by a relative path."""
    (kind, _, place), (kind2, _, place2) = one.partition(":"), other.partition(":")
    return kind == kind2 and Path(place).resolve() == Path(place2).resolve()


def read_csv(
    file: Path,
    root: Path,
    path_column: str = "path",
    score_column: str = "score",
    group_column: str = "",
    more_columns: Sequence[str] = (),
) -> tuple[Item, ...]:
    """The images of a CSV file, whose paths are relative to `root`; one is enough. Arguments and errors as `load`."""
    wanted = list(dict.fromkeys([*filter(None, [group_column]), *more_columns]))
    rows = []
    for number, (name, score, *cells) in read_columns(file, path_column, score_column, *wanted):
        groups = dict(zip(wanted, cells, strict=True))
        if group_column:
            groups.setdefault("prompt", groups[group_column])
        rows.append(Row(number, name, score, groups))
    return items(file, root, rows, path_column, group_column)


def read_columns(file: Path, *wanted: str) -> Iterator[tuple[int, list[Any]]]:
    """The named cells of each row of a CSV file that is not blank, with its number; what a short row lacks is None.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT where the file is no CSV, or a column is missing or there twice.
    """
    return columns(file, lines(file), *wanted)


def _agiqa1k(folder: Path, label: str, column: str) -> Database:
    """AGIQA-1K (arXiv 2303.12618): 1080 images of two generators, 720 prompts; scores 0 to 5.

    The published file has one name twice, with two different scores: the list of names skips dreamStudio_8_5_0_0.jpg
    and repeats its last entry, dreamStudio_8_9_1_1.jpg. No one can tell which score is that image's, so both rows
    are left out and the note says so: 1078 images remain. Any other name that stands twice is an error.
    """
    file = folder / "AIGC_MOS_Zscore.xlsx"
    rows = [
        Row(number, name, score, {"prompt": prompt, "generator": _prefix(name)})
        for number, (name, score, prompt) in columns(file, sheet(file, "Sheet1"), "Image", column, "Prompt")
    ]
    twice = [row for row in rows if row.name == AGIQA1K_TWICE]
    notes = []
    if len(twice) == 2:
        rows = [row for row in rows if row.name != AGIQA1K_TWICE]
        numbers = " and ".join(str(row.number) for row in twice)
        notes.append(f"{file}: {AGIQA1K_TWICE} has two scores, in rows {numbers}; both rows are left out")
    found = items(file, folder / "file", rows, "Image", "prompt")
    return Database("AGIQA-1K", column, (0.0, 5.0), found, MEANINGS[label], tuple(notes))


def _agiqa3k(folder: Path, label: str, column: str) -> Database:
    """AGIQA-3K (arXiv 2306.04717): 2982 images of six generators, 300 prompts; scores 0 to 5.

    The generator is what an image's name begins with, up to the first underscore.
    """
    file = folder / "data.csv"
    rows = (
        Row(number, name, score, {"prompt": prompt, "generator": _prefix(name)})
        for number, (name, score, prompt) in read_columns(file, "name", column, "prompt")
    )
    return Database(
        "AGIQA-3K", column, (0.0, 5.0), items(file, folder / "images", rows, "name", "prompt"), MEANINGS[label]
    )


def _aigciqa2023(folder: Path, label: str, column: str) -> Database:
    """AIGCIQA2023 (arXiv 2307.00211): 2400 images, 100 prompts; z-scores that its authors put on a scale of 0 to 100.

    Row k of a label file, counted from 0, is the score of Image/allimg/k.png. The images are ordered by generator
    (six), then prompt (100), then draw (four), so prompt k % 400 // 4 is the group: three independent public loaders
    that join images and prompts read the order so, the label files themselves do not say it.
    """
    file = folder / "DATA" / "MOS" / f"{column}.mat"
    scores = matrix(file, "MOSz", (AIGCIQA2023_IMAGES, 1))
    rows = (
        Row(k + 1, f"{k}.png", score, {"prompt": f"prompt {k % 400 // 4}", "generator": f"generator {k // 400}"})
        for k, score in enumerate(scores)
    )
    found = items(file, folder / "Image" / "allimg", rows, "image", "prompt")
    return Database("AIGCIQA2023", column, (0.0, 100.0), found, MEANINGS[label])


def _clive(folder: Path, label: str, column: str) -> Database:
    """CLIVE, the LIVE In the Wild Image Quality Challenge Database: 1162 photographs of phones; MOS 0 to 100.

    D. Ghadiyaram and A. C. Bovik, IEEE Transactions on Image Processing 25(1), 2016. The first seven of the 1169
    published names are images that people were trained on, in a folder of their own; by convention they are left out.
    """
    file = folder / "labels.csv"
    if file.is_file():
        rows = [Row(number, *cells) for number, cells in read_columns(file, "path", "score")]
        return Database("CLIVE", "score", (0.0, 100.0), items(file, folder, rows, "path"), MEANINGS[label])
    file = folder / "Data" / "AllMOS_release.mat"
    names = cell_of_words(folder / "Data" / "AllImages_release.mat", "AllImages_release", CLIVE_IMAGES)
    scores = matrix(file, column, (1, CLIVE_IMAGES))
    rows = [Row(k + 1, name, score) for k, (name, score) in enumerate(zip(names, scores, strict=True))]
    found = items(file, folder / "Images", rows[CLIVE_TRAINING:], "name")
    note = (
        f"{file}: the first {CLIVE_TRAINING} images, on which people were trained, are left out, as is the convention"
    )
    return Database("CLIVE", column, (0.0, 100.0), found, MEANINGS[label], (note,))


def _avt_ai(folder: Path, label: str, column: str) -> Database:
    """AVT-AI-Image-Dataset: 135 images of five generators for 27 prompts, with photographs; mean ratings 1 to 5.

    S. Göring et al., "Analysis of appeal for realistic AI-generated photos", IEEE Access 11, 2023 (realism), and
    "Appeal and quality assessment for AI-generated images", QoMEX 2023 (quality, appeal). The published folder has
    images/GENERATOR/pNN.png, images/prompts.csv (ID, prompts), quality_evaluation/quality.csv and appeal.csv
    (image_key, rating; formerly in evaluation_quality_appeal/) and evaluation/all_ratings.csv (image_key,
    realism_mean). The photographs (own/) are left out: here images of generators are compared.
    """
    file = folder / "labels.csv"
    if file.is_file():
        table = read_columns(file, "path", column, "generator", "prompt")
        rows = [Row(n, name, score, {"generator": by, "prompt": prompt}) for n, (name, score, by, prompt) in table]
        return Database("AVT-AI", column, (1.0, 5.0), items(file, folder, rows, "path", "prompt"), MEANINGS[label])
    parts = (
        ("evaluation", "quality_evaluation")
        if label == "realism"
        else ("quality_evaluation", "evaluation_quality_appeal")
    )
    name = "all_ratings.csv" if label == "realism" else f"{label}.csv"
    file = next((place for part in parts if (place := folder / part / name).is_file()), folder / parts[0] / name)
    table = read_columns(file, "image_key", "realism_mean" if label == "realism" else "rating")
    keys = [(number, str(key), score) for number, (key, score) in table]
    prompts = {str(key): text for _, (key, text) in read_columns(folder / "images" / "prompts.csv", "ID", "prompts")}
    rows = []
    for number, key, score in keys:
        by, _, prompt = key.partition("/")
        if by != AVT_AI_PHOTOGRAPHS:
            rows.append(Row(number, f"{key}.png", score, {"generator": by, "prompt": prompts.get(prompt)}))
    found = items(file, folder / "images", rows, "image_key", "prompt")
    note = f"{file}: {len(keys) - len(rows)} photographs are left out"
    return Database("AVT-AI", column, (1.0, 5.0), found, MEANINGS[label], (note,) if len(keys) > len(rows) else ())


def _csv(
    file: Path, label: str, path_column: str, score_column: str, group_column: str, more_columns: Sequence[str]
) -> Database:
    if not label.strip() or not label.isprintable():
        raise PscrError(Status.INVALID_ARGUMENT, f"label is {label!r}; expected a word for what the scores judge")
    found = read_csv(file, file.parent, path_column, score_column, group_column, more_columns)
    scores = [item.score for item in found]
    if min(scores) == max(scores):
        raise bad(file, f"every {score_column} is {scores[0]:g}; expected images of different quality")
    meaning = MEANINGS.get(label, f"mean opinion score of {label}")
    return Database(file.stem, score_column, (min(scores), max(scores)), found, meaning, declared=False)


@dataclass(frozen=True)
class Published:
    """A database as its authors publish it.

    read: from its folder, a label, and the column or file that the label's scores stand in. labels: what the scores may
    judge, each with that column or file; the first is the usual one.
    """

    read: Callable[[Path, str, str], Database]
    labels: Mapping[str, str]


_PUBLISHED = {
    "agiqa1k": Published(_agiqa1k, {"quality": "MOS"}),
    "agiqa3k": Published(_agiqa3k, {"quality": "mos_quality", "alignment": "mos_align"}),
    "aigciqa2023": Published(_aigciqa2023, {"quality": "mosz1", "authenticity": "mosz2", "correspondence": "mosz3"}),
    "clive": Published(_clive, {"quality": "AllMOS_release"}),
    "avt_ai": Published(_avt_ai, {"quality": "quality", "appeal": "appeal", "realism": "realism"}),
}
LABELS = "; ".join(
    ["quality"]
    + [f"{name} also {', '.join(list(one.labels)[1:])}" for name, one in _PUBLISHED.items() if len(one.labels) > 1]
    + ["csv any word"]
)
EXPECTED = ", ".join(f"{name}:DIR" for name in _PUBLISHED) + " or csv:FILE"


def _prefix(name: Any) -> Any:
    """What a name begins with, up to its first underscore; anything but a name is left for the check of the rows."""
    return name.split("_")[0] if isinstance(name, str) else name
