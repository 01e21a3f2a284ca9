"""How much faster than the published way of scoring, with the same weights and the same scores, in one run.

    python benchmarks/baseline.py [--threads N] [--images 4] [--networks resnet18:ops efficientnet_lite0:ops]

The published way (the test loop of the authors' code): eager torch; an image meets 10 exemplars one after the other,
and for each pair both images are cut into patches and encoded again, which makes 20 encodings of an image each. Rows
beside it take its repetitions away one by one: "query once" encodes the image itself once (11 encodings), "folded"
takes the exemplars' terms as given (1 encoding, still eager torch), "runtime" is this project on the same exported
network.
All start from encoded 512x512 JPEGs, whose decoding counts, and take turns image by image. The weights are random, but
their activations are normalised on the example images; time does not depend on their values. The program fails where a
score differs from the published one by more than 1e-4. The packaged models, on their own weights, are timed in the same
turns, and so are the network's own weights in one pass over the whole image ("dense"): fewer multiply-adds, and other
scores. In fp32, and where OpenVINO is installed in int8 (`pscr export onnx --precision int8`, all but the first
convolution) and, where the processor has it, in bf16; how far their scores are from those of the fp32 pass is
`from_dense`.
A network is BACKBONE:SAMPLING, with :depths behind it for features of several depths. Needs pscr[cpu,train,export].
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from common import examples, finish, opened, parser, where
from torch import Tensor, nn

import pscr
from pscr.bench import plots
from pscr.bench.statistics import WINDOWS
from pscr.export.precision import to_int8
from pscr.export.score_graph import save, to_onnx
from pscr.runtime.bank import Bank
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import packaged
from pscr.runtime.score_scale import ScoreScale
from pscr.training.model import PSCR, build

EXEMPLARS = 10
TOLERANCE = 1e-4
KEYS = ("network", "way")
Score = Callable[[bytes], float]


class Published:
    """Scoring as the authors' code does it, and the same with its repetitions taken away.

    exemplars: encoded images. scores [K] float32: what people said of them.
    """

    def __init__(self, model: PSCR, exemplars: Sequence[bytes], scores: np.ndarray) -> None:
        self.model, self.exemplars, self.scores = model, exemplars, torch.from_numpy(scores)
        with torch.inference_mode():
            self._terms = model.regressor.terms(self._encode([self._cut(data) for data in exemplars]))

    def published(self, data: bytes) -> float:
        """Every pair's two images cut and encoded anew: 2 K encodings."""
        with torch.inference_mode():
            image = load(data)
            others = [load(exemplar) for exemplar in self.exemplars]
            total = torch.zeros(1)
            for other, score in zip(others, self.scores, strict=True):
                pair = self._encode([self.model.sampling.cut(image), self.model.sampling.cut(other)])
                total += score + self.model.regressor(pair[:1], pair[1:])
            return float(total[0]) / len(others)

    def query_once(self, data: bytes) -> float:
        """The image encoded once, the exemplars anew: K + 1 encodings."""
        with torch.inference_mode():
            query = self._encode([self._cut(data)])
            others = torch.cat([self._encode([self._cut(exemplar)]) for exemplar in self.exemplars])
            return float((self.scores + self.model.regressor(query.expand(len(others), -1), others)).mean())

    def folded(self, data: bytes) -> float:
        """The image encoded once, the exemplars' terms as given: 1 encoding."""
        regressor = self.model.regressor
        with torch.inference_mode():
            query = regressor.query_part(self._encode([self._cut(data)]))
            return float((regressor.differences(query, self._terms) + self.scores).mean())

    def _cut(self, data: bytes) -> np.ndarray:
        return self.model.sampling.cut(load(data))

    def _encode(self, images: Sequence[np.ndarray]) -> Tensor:
        """[C] of each image [P,S,S,3], which go through the backbone as one batch: [N,C]."""
        return self.model.features(torch.from_numpy(np.stack(images)))


def network(name: str, images: Sequence[bytes], seed: int = 0) -> PSCR:
    """BACKBONE:SAMPLING[:depths] with random weights, whose batch normalisations hold the statistics of `images`.

    The regressor's last layer is widened so that scores differ by about one.
    """
    backbone, sampling, *features = name.split(":")
    torch.manual_seed(seed)
    model = build(backbone, sampling=sampling, features=features[0] if features else "last")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    patches = torch.from_numpy(np.stack([model.sampling.cut(load(data)) for data in images]))
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
        model.train().features(patches)
        model.eval().standardise(model.features(patches))
        found = model.features(patches)
        regressor = model.regressor
        spread = regressor.differences(regressor.query_part(found), regressor.terms(found)).std()
        regressor.fc2.weight *= 1 / spread
    return model


def ship(model: PSCR, name: str, folder: Path, exemplars: Sequence[bytes], scores: np.ndarray) -> Path:
    """A model folder of the network, exported as `pscr export onnx` exports it, with the exemplars as its bank."""
    folder.mkdir(parents=True)
    save(to_onnx(model, half_weights=False), folder / "model.onnx")
    with torch.inference_mode():
        patches = torch.from_numpy(np.stack([model.sampling.cut(load(data)) for data in exemplars]))
        terms = model.regressor.terms(model.features(patches)).numpy()
    Bank(np.ascontiguousarray(terms), scores, tuple(map(str, range(len(scores))))).write(folder / "bank.npz")
    Manifest(
        name=name,
        version="0.0.0",
        backbone=model.spec.name,
        precision="fp32",
        sampling=model.sampling,
        score=ScoreScale("nothing: random weights", "none", (0.0, 5.0), higher_is_better=True),
        bank={"size": len(scores), "selection": "the first images"},
        training={"database": "none: random weights"},
        parity={"compared": "nothing"},
        licence="Apache-2.0",
        files={},
    ).write(folder, ["model.onnx", "bank.npz"])
    return folder


def in_one_pass(model: PSCR) -> PSCR:
    """The same weights on the whole image in place of patches."""
    dense = build(model.spec.name, sampling="dense", features="depths" if model.depths else "last")
    dense.load_state_dict(model.state_dict())
    return dense.eval()


def quantised(dense: Path, output: Path, patches: Sequence[np.ndarray]) -> Path:
    """The model folder `dense` in int8, calibrated on the patches [P,S,S,3] of some images.

    Unlike `pscr export onnx`, whatever becomes of the scores: a network of random weights has no features to be kept.
    """
    output.mkdir()
    manifest = Manifest.read(dense)
    graph = to_int8(onnx.load(dense / "model.onnx"), patches, float_convolutions=1)
    save(graph, output / "model.onnx")
    (output / "bank.npz").write_bytes((dense / "bank.npz").read_bytes())
    replace(manifest, precision="int8").write(output, ["model.onnx", "bank.npz"])
    return output


def _score(scorer: pscr.Scorer, data: bytes) -> float:
    return scorer.score(data).score


def in_turns(ways: dict[str, Score], images: Sequence[bytes], turns: int) -> dict[str, list[tuple[float, float]]]:
    """(milliseconds, score) of each way and turn, after one turn of each that does not count."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(-1, turns):
        for name, score in ways.items():
            started = time.perf_counter()
            value = score(images[turn % len(images)])
            if turn >= 0:
                found[name].append((1000 * (time.perf_counter() - started), value))
    return found


def compare(
    name: str, images: Sequence[bytes], turns: int, threads: int, shipped: Sequence[pscr.Scorer] = ()
) -> list[dict[str, Any]]:
    """The rows of one network: each way's median, its ratio to the published way, its largest difference from it.

    Raises:
        ValueError: a score differs by more than 1e-4.
    """
    model = network(name, images)
    exemplars = [images[i % len(images)] for i in range(EXEMPLARS)]
    scores = np.linspace(0.5, 4.5, EXEMPLARS, dtype=np.float32)
    torch.set_num_threads(threads)
    published = Published(model, exemplars, scores)
    with tempfile.TemporaryDirectory() as folder:
        model_folder = ship(model, name.replace(":", "-"), Path(folder) / "model", exemplars, scores)
        dense = in_one_pass(model)
        dense_folder = ship(dense, "dense", Path(folder) / "dense", exemplars, scores)
        cut = [dense.sampling.cut(load(data)) for data in images]
        int8_folder = quantised(dense_folder, Path(folder) / "int8", cut)
        with ExitStack() as stack:
            scorers = {"runtime": stack.enter_context(pscr.open(model_folder, "cpu", threads))}
            scorers["runtime, dense"] = stack.enter_context(pscr.open(dense_folder, "cpu", threads))
            with suppress(pscr.PscrError):  # no OpenVINO, or no bf16
                scorers["runtime, dense, int8"] = stack.enter_context(pscr.open(int8_folder, "openvino", threads))
                bf16 = stack.enter_context(pscr.open(dense_folder, "openvino-bf16", threads))
                scorers["runtime, dense, bf16"] = bf16
            scorers |= {f"runtime, {scorer.manifest.name}": scorer for scorer in shipped}
            ways: dict[str, Score] = {
                "published": published.published,
                "query once": published.query_once,
                "folded": published.folded,
                **{way: partial(_score, scorer) for way, scorer in scorers.items()},
            }
            found = in_turns(ways, images, turns)
    rows = []
    denominator = statistics.median(ms for ms, _ in found["published"])
    for way, pairs in found.items():
        median = statistics.median(ms for ms, _ in pairs)
        row = {"network": name, "way": way, "count": len(pairs), "p50_ms": round(median, 2)}
        row |= {"times_faster": round(denominator / median, 2), "largest_difference": ""}
        if way in ("query once", "folded", "runtime"):
            row["largest_difference"] = agreed(f"{name}, {way}", pairs, found["published"])
        row["from_dense"] = ""
        if way.startswith("runtime, dense, "):
            row["from_dense"] = float(f"{apart(pairs, found['runtime, dense']):.2g}")
        rows.append(row | {"spread_of_scores": round(float(np.ptp([score for _, score in pairs])), 3)})
    return rows


def agreed(name: str, pairs: Sequence[tuple[float, float]], published: Sequence[tuple[float, float]]) -> float:
    """The largest difference of the scores in two lists of (milliseconds, score).

    Raises:
        ValueError: it is above 1e-4, or a score is not a number.
    """
    found = apart(pairs, published)
    if not found <= TOLERANCE:
        raise ValueError(f"{name}: scores differ by {found:.2g}; expected at most {TOLERANCE}")
    return float(f"{found:.2g}")


def apart(pairs: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> float:
    """The largest difference of the scores in two lists of (milliseconds, score)."""
    return max(abs(a - b) for (_, a), (_, b) in zip(pairs, others, strict=True))


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, what="not used here: --images decides")
    options.add_argument("--images", type=int, default=WINDOWS, help="turns of each network (default: %(default)s)")
    options.add_argument("--networks", nargs="+", default=["resnet18:ops", "efficientnet_lite0:ops"], metavar="NETWORK")
    given = options.parse_args()
    images = examples()
    with ExitStack() as stack:
        named = stack.enter_context(opened(given))
        environment = where(given, named)
        others = [name for name in packaged() if name != named.manifest.name]
        shipped = [named, *(stack.enter_context(pscr.open(name, given.device, given.threads)) for name in others)]
        rows = [
            row
            for name in given.networks
            for row in compare(name, images, given.images, environment["threads"], shipped)
        ]
    record, file = finish(given, environment, KEYS, rows)
    labels = [f"{row['network']}, {row['way']}" for row in rows]
    plots.bars(file, labels, [row["p50_ms"] for row in rows], "ms an image, median", record.name, log=True)


if __name__ == "__main__":
    main()
