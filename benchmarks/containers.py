"""The same images in a folder, a Parquet file, a tar, a dataset of Hugging Face and a clip: equal scores, equal speed?

    python benchmarks/containers.py [--model MODEL] [--images DIR] [--count 2000] [--frames 500] [--runs N]

Each way is `pscr score` in a process of its own, in turns, --runs times; figures are medians of these. The images are
those of --images DIR, or the examples, each rolled by an amount of its own, as 512x512 JPEGs of quality 90. The first
--count of them lie, byte for byte, in the folder, the Parquet file, the tar and the dataset.

No video codec decodes to the very pixels of a JPEG, so the clip is compared with a folder of its own: the first
--frames of the images cut to 512x512, as PNG files, and the same pixels as frames of a lossless video (HuffYUV in AVI,
which is compared to the bit before anything is measured).

images_per_s: from the program's start to its end. cpu_ms: processor time of all its threads, an image; other programs
disturb it less. of_folder, cpu_of_folder: beside the folder of the same images. largest_difference: between scores of
the same image there and here, which rows have to six decimals; above 1e-6 the program ends with an error.
"""

from __future__ import annotations

import io
import json
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet
from common import finish, opened, parser, where, write_images

from pscr.bench import plots
from pscr.bench.pictures import SIDE, square
from pscr.bench.record import packages
from pscr.runtime.image import load
from pscr.tables.inputs import expand

KEYS = ("way",)
TOLERANCE = 1e-6  # of scores
DECIMALS = 6  # that rows have
RATE = 25  # frames a second; any would do
CODEC = "HFYU"
ROWS_OF_A_GROUP = 100


@dataclass
class Way:
    """Images in one place. path: what `pscr score` is given, with `words`. folder: the way it is compared with.

    seconds, cpu_seconds: of each run. scores: of the images in their order.
    """

    name: str
    count: int
    path: Path
    folder: Way | None = None
    words: Sequence[str] = ()
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def run(self, common: Sequence[str], output: Path) -> None:
        """Score the images once."""
        command = [sys.executable, "-m", "pscr", "score", str(self.path), *self.words, *common, "-o", str(output)]
        before, started = _cpu_seconds(), time.perf_counter()
        done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8", check=False)
        self.seconds.append(time.perf_counter() - started)
        self.cpu_seconds.append(_cpu_seconds() - before)
        if done.returncode:
            raise SystemExit(f"{self.name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
        rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
        if len(rows) != self.count:
            raise SystemExit(f"{self.name}: {len(rows)} rows; expected {self.count}")
        self.scores = [row["score"] for row in rows]

    def row(self) -> dict[str, Any]:
        """The row of the table; ends the program where scores differ."""
        folder = self.folder or self
        pairs = zip(self.scores, folder.scores, strict=True)
        difference = max(round(abs(score - expected), DECIMALS) for score, expected in pairs)
        if not difference <= TOLERANCE:
            raise SystemExit(f"{self.name}: a score differs from the folder's by {difference}; expected {TOLERANCE}")
        seconds, cpu_seconds = statistics.median(self.seconds), statistics.median(self.cpu_seconds)
        return {
            "way": self.name,
            "images": self.count,
            "runs": len(self.seconds),
            "images_per_s": round(self.count / seconds, 2),
            "of_folder": round(statistics.median(folder.seconds) / seconds, 3),
            "cpu_ms": round(1000 * cpu_seconds / self.count, 1),
            "cpu_of_folder": round(cpu_seconds / statistics.median(folder.cpu_seconds), 3),
            "largest_difference": difference,
        }


def _cpu_seconds() -> float:
    """Of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def images_of(given: Path | None, count: int, folder: Path) -> list[Path]:
    """`count` images in a folder of their own, copied from the one given, or made of the examples."""
    folder.mkdir()
    if given is None:
        write_images(folder, count)
    else:
        for number, item in enumerate(expand([str(given)])[:count]):
            source = Path(item.path)
            (folder / f"{number:06d}{source.suffix.lower()}").write_bytes(source.read_bytes())
    files = sorted(folder.iterdir())
    if len(files) < count:
        raise SystemExit(f"{given} has {len(files)} images; expected {count} or more; say --count {len(files)}")
    return files


def write_parquet(file: Path, images: Sequence[Path]) -> Path:
    """A table with a column of bytes."""
    groups = (images[start : start + ROWS_OF_A_GROUP] for start in range(0, len(images), ROWS_OF_A_GROUP))
    schema = pa.schema([("bytes", pa.binary()), ("name", pa.string())])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for group in groups:
            columns = {"bytes": [image.read_bytes() for image in group], "name": [image.name for image in group]}
            writer.write_table(pa.table(columns, schema))
    return file


def write_tar(file: Path, images: Sequence[Path]) -> Path:
    """A shard of WebDataset: each image with its .json."""
    with tarfile.open(file, "w") as tar:
        for image in images:
            for name, data in (
                (image.name, image.read_bytes()),
                (f"{image.stem}.json", json.dumps({"name": image.name}).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file


def write_dataset(folder: Path, images: Sequence[Path]) -> Path:
    """What `save_to_disk` of Hugging Face's datasets writes, in two files."""
    folder.mkdir()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind)])
    middle = len(images) // 2
    names = []
    for number, part in enumerate((images[:middle], images[middle:])):
        names.append(f"data-{number:05d}-of-00002.arrow")
        with pa.OSFile(str(folder / names[-1]), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for image in part:
                cell = {"bytes": image.read_bytes(), "path": image.name}
                writer.write_batch(pa.record_batch({"image": pa.array([cell], kind)}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}), "utf-8")
    (folder / "dataset_info.json").write_text("{}", "utf-8")
    return folder


def frames_of(images: Sequence[Path]) -> Iterator[np.ndarray]:
    """The images as frames, [SIDE,SIDE,3] uint8 BGR."""
    return (cv2.cvtColor(square(load(image), SIDE), cv2.COLOR_RGB2BGR) for image in images)


def write_frames(folder: Path, file: Path, images: Sequence[Path]) -> None:
    """The images cut to SIDE x SIDE: as PNG files in a folder, and as frames of a video."""
    folder.mkdir()
    video = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*CODEC), RATE, (SIDE, SIDE))
    for number, frame in enumerate(frames_of(images)):
        cv2.imwrite(str(folder / f"{number:06d}.png"), frame)
        video.write(frame)
    video.release()
    check_lossless(folder, file)


def check_lossless(folder: Path, file: Path) -> None:
    """End the program unless a video has the pixels of a folder's PNG files."""
    video = cv2.VideoCapture(str(file), cv2.CAP_FFMPEG)
    for image in sorted(folder.iterdir()):
        there, frame = video.read()
        if not there or not np.array_equal(frame, cv2.imread(str(image))):
            raise SystemExit(f"{CODEC} of this OpenCV does not give frame {image.stem} back as it was")
    video.release()


def ways_of(given: Any, folder: Path) -> list[Way]:
    """The images, written in each way."""
    images = images_of(given.images, given.count, folder / "images")
    plain = Way("folder", len(images), folder / "images")
    ways = [plain]
    for name, path in (
        ("Parquet", write_parquet(folder / "images.parquet", images)),
        ("tar (WebDataset)", write_tar(folder / "images.tar", images)),
        ("dataset (Hugging Face)", write_dataset(folder / "dataset", images)),
    ):
        ways.append(Way(name, len(images), path, plain))
    some = images[: given.frames]
    write_frames(folder / "frames", folder / "clip.avi", some)
    still = Way("folder of the frames", len(some), folder / "frames")
    every = ("--per-frame", "--every", str(1 / RATE))
    return [*ways, still, Way("clip", len(some), folder / "clip.avi", still, every)]


def main() -> None:
    """Write the images, measure, compare, print and write."""
    options = parser(__doc__)
    add = options.add_argument
    add("--images", type=Path, metavar="DIR", help="a folder of images (default: made of the examples)")
    add("--count", type=int, default=2000, help="images of each way (default: %(default)s)")
    add("--frames", type=int, default=500, help="of them in the clip (default: %(default)s)")
    add("--runs", type=int, default=1, help="of each way (default: %(default)s)")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        ways = ways_of(given, folder)
        with opened(given) as scorer:
            environment = where(given, scorer)
        environment["packages"] |= packages(("pyarrow",))
        common = ["--model", given.model, "--device", given.device, "--threads", str(environment["threads"]), "-q"]
        for run in range(given.runs):
            for number, way in enumerate(ways):
                way.run(common, folder / f"{run}-{number}.jsonl")
    rows = [way.row() for way in ways]
    record, file = finish(given, environment, KEYS, rows)
    plots.bars(file, [way.name for way in ways], [row["images_per_s"] for row in rows], "images / second", record.name)


if __name__ == "__main__":
    main()
