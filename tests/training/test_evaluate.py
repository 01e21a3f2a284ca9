"""`pscr evaluate` scores a database with what ships and says how sure its figures are."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write

import pscr
from pscr.commands.main import main
from pscr.training.databases import Item
from pscr.training.metrics import agreement
from pscr.training.unseen import without

EXEMPLARS = ("a", "b")  # of the tiny model's bank: a b c d e


@pytest.fixture
def labelled(tmp_path):
    """Twenty images, two of them called like exemplars, with opinions that follow their brightness; gives the CSV."""
    rng = np.random.default_rng(0)
    rows = ["path,score"]
    for index, name in enumerate([*EXEMPLARS, *(f"{number}.png" for number in range(18))]):
        pixels = rng.integers(0, 12 * index + 20, (64, 64, 3)).astype(np.uint8)
        (tmp_path / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        rows.append(f"{name},{index / 5 + rng.normal(0, 0.2):.3f}")
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(rows))
    return file


@pytest.fixture
def evaluate(tiny_model, labelled, capsys):
    def run(*words, data=labelled, model=tiny_model):
        command = ["evaluate", str(model), "--data", f"csv:{data}", "--device=cpu", "--threads=1", "--resamples=100"]
        code = main([*command, *map(str, words)])
        return code, *capsys.readouterr()

    return run


def figures_of(out):
    """The numbers of the table by measure: value, lowest, highest."""
    lines = [line for line in out.splitlines()[2:] if " to " in line]
    cells = [(line[:13].strip(), line[13:].replace(" to ", " ").split()) for line in lines]
    return {name: tuple(map(float, numbers)) for name, numbers in cells}


def test_the_table_has_the_figures_of_the_runtimes_own_scores(evaluate, labelled, tiny_model):
    code, out, _ = evaluate()
    with labelled.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["path"] not in EXEMPLARS]
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        scores = [scorer.score(labelled.parent / row["path"]).score for row in rows]
    expected = agreement(scores, [float(row["score"]) for row in rows])
    assert code == 0
    assert out.splitlines()[0] == "tiny 0.0.1 on 18 images of labels (score)"
    found = figures_of(out)
    assert list(found) == ["SRCC", "KRCC", "PLCC", "PLCC fitted", "RMSE", "RMSE fitted"]
    for name in ("srcc", "krcc", "plcc", "rmse"):
        value, low, high = found[name.upper()]
        assert value == pytest.approx(expected[name], abs=1e-4)
        assert low <= value <= high


def test_the_banks_own_exemplars_are_left_out_and_counted(evaluate):
    _, _, errors = evaluate()
    assert "warning: 2 images are left out: the model's bank has exemplars of the same name" in errors


def test_an_exemplar_is_known_by_the_end_of_its_path(tmp_path):
    items = [Item(name, tmp_path / name, 1.0, name) for name in ("a.png", "x/a.png", "x/b.png", "y/b.png", "cc.png")]
    absolute = Item(str(tmp_path / "z" / "d.png"), tmp_path / "z" / "d.png", 1.0, "d")
    kept = without([*items, absolute], ["a.png", "x/b.png", "c.png", "d.png"])
    assert [item.name for item in kept] == ["y/b.png", "cc.png"]


def test_csv_has_a_row_for_each_image(evaluate, labelled, tmp_path):
    code, _, _ = evaluate("--csv", tmp_path / "out.csv")
    assert code == 0
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["path", "opinion", "score", "spread", "model", "database", "group"]
    assert {(row["model"], row["database"], row["group"]) for row in rows} == {("tiny 0.0.1", "labels (score)", "")}
    assert [row["path"] for row in rows] == [str(tmp_path / f"{number}.png") for number in range(18)]
    assert all(np.isfinite([float(row[key]) for key in ("opinion", "score", "spread")]).all() for row in rows)


def test_a_split_chooses_the_images(evaluate, tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["0.png"], "val": ["3.png", "5.png", "7.png", "9.png"]}))
    code, out, errors = evaluate("--split", f"{tmp_path / 'split.json'}:val")
    assert code == 0
    assert "on 4 images" in out
    assert "could not be fitted" in out
    assert errors == ""


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ("val", "expected all or RUN/split.json:val"),
        ("{folder}/none.json:val", "none.json: cannot be read"),
        ("{folder}/split.json:test", "has no part 'test'"),
        ("{folder}/labels.csv:val", "not a split"),
        ("{folder}/split.json:val", "1 of its 2 val images are not in the database, first other.png"),
        ("{folder}/split.json:one", "expected two rows of the same length, two or more"),
    ],
)
def test_a_split_that_cannot_be_used_is_one_clear_line(evaluate, tmp_path, split, says):
    (tmp_path / "split.json").write_text(json.dumps({"val": ["0.png", "other.png"], "one": ["0.png"]}))
    code, out, errors = evaluate("--split", split.format(folder=tmp_path))
    assert code == (3 if "none.json" in split else 2)
    assert says in errors
    assert errors.count("\n") == 1
    assert out == ""


def test_an_image_that_cannot_be_decoded_is_named_and_the_rest_evaluated(evaluate, tmp_path):
    (tmp_path / "4.png").write_bytes(b"not an image")
    code, out, errors = evaluate("--csv", tmp_path / "out.csv")
    assert code == 1
    assert "on 17 images" in out
    assert f"{tmp_path / '4.png'}: DECODE_FAILED" in errors
    assert ",,,tiny 0.0.1,labels (score)," in (tmp_path / "out.csv").read_text()


def test_images_that_trained_the_model_are_pointed_out(evaluate, own_model):
    manifest = json.loads((own_model / "manifest.json").read_text())
    manifest["training"]["database"] = manifest["score"]["database"] = "labels"
    (own_model / "manifest.json").write_text(json.dumps(manifest))
    _, _, errors = evaluate(model=own_model)
    assert "tiny was trained on images of labels, and figures on images that trained it flatter it" in errors
    _, _, errors = evaluate("--label", "sharpness", model=own_model)
    assert "predicts the mean opinion score of quality, these labels are the mean opinion score of sharpness" in errors


def test_a_model_or_a_database_that_cannot_be_used_has_its_exit_code(evaluate, tmp_path):
    code, _, errors = evaluate(model=tmp_path)
    assert code == 3
    assert "a folder without manifest.json" in errors
    code, _, errors = evaluate(data=tmp_path / "none.csv")
    assert code == 3
    assert "no such label file" in errors


def test_the_plot_is_a_picture(evaluate, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, _ = evaluate("--plot", tmp_path / "plot.png")
    assert code == 0
    picture = cv2.imread(str(tmp_path / "plot.png"))
    assert picture.shape == (780, 960, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_plot_that_cannot_be_written_is_one_clear_line(evaluate, tmp_path):
    pytest.importorskip("matplotlib")
    for file, says in ((tmp_path / "none" / "plot.png", "there is no folder"), (tmp_path / "plot.doc", "cannot be")):
        code, out, errors = evaluate("--plot", file)
        assert code == 2
        assert says in errors
        assert out == ""


def test_figures_are_told_before_the_files_are_written_and_a_device_stays_one(evaluate):
    code, out, errors = evaluate("--csv", "/dev/full")
    assert code == 3
    assert "SRCC" in out
    assert "No space left" in errors
    assert evaluate("--csv", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_a_label_file_cannot_steer_the_terminal(evaluate, labelled):
    hostile = labelled.with_name("red\x1b[31m.csv")
    hostile.write_bytes(labelled.read_bytes())
    code, out, errors = evaluate(data=hostile)
    assert code == 0
    assert "\x1b" not in out + errors


def test_it_loads_no_torch(tiny_model, labelled):
    program = (
        "import sys\n"
        "from pscr.training.evaluate import main\n"
        f"assert main([{str(tiny_model)!r}, '--data', 'csv:{labelled}', '--device=cpu', '--resamples=10']) == 0\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SRCC" in done.stdout


def test_figures_beyond_the_training_data_are_recorded_and_shown(labelled, tmp_path, capsys):
    model = write(tmp_path / "model")
    command = ["evaluate", str(model), "--data", f"csv:{labelled}", "--device=cpu", "--threads=1", "--resamples=100"]
    assert main([*command, "--record"]) == 0
    shown = capsys.readouterr().out.splitlines()
    value = next(float(line.split()[1]) for line in shown if line.startswith("SRCC"))
    recorded = json.loads((model / "manifest.json").read_text())["training"]["beyond"]["labels (score)"]
    assert recorded["srcc"] == pytest.approx(value, abs=6e-4)
    assert recorded["images"] == 18
    assert main(["info", str(model), "--device=cpu"]) == 0
    assert f"srcc {recorded['srcc']:.4g}" in capsys.readouterr().out
    assert main(["verify", str(model), "--device=cpu"]) == 0
    assert main([*command, "--record", "--bank", str(model / "bank.npz")]) == 2
