"""`pscr evaluate` on several databases, with two models, other metrics, groups, a bank: one table of honest figures."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tiny_model as tiny

import pscr
from pscr.commands.main import main
from pscr.runtime.bank_building import build
from pscr.runtime.labelled_images import Labelled
from pscr.runtime.score_scale import ScoreScale
from pscr.training.metrics import agreement, paired, within_groups

pytestmark = pytest.mark.slow

GROUPS = ("dark", "bright")


@pytest.fixture
def folder(tmp_path):
    """Two label files of 24 images: points of 0 to 5, and the same in percent less ten; a generator of twelve each."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for index in range(24):
        pixels = rng.integers(0, 8 * index + 20, (64, 64, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{index:02}.png"), pixels)
        rows.append((f"images/{index:02}.png", round(index / 6 + rng.normal(0, 0.3), 4), GROUPS[index // 12]))
    write(tmp_path / "points.csv", ("path", "score", "generator"), rows)
    write(tmp_path / "percent.csv", ("path", "score"), [(name, 20 * score - 10) for name, score, _ in rows])
    return tmp_path


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """A second tiny model, of other weights and of another name."""
    return tiny.write(tmp_path_factory.mktemp("other") / "other", seed=11)


@pytest.fixture
def evaluate(tiny_model, folder, capsys):
    def run(*words, data=("points.csv",)):
        given = [word for name in data for word in ("--data", f"csv:{folder / name}")]
        command = ["evaluate", str(tiny_model), *given, "--device=cpu", "--threads=1", "--resamples=50"]
        code = main([*command, *map(str, words)])
        return code, *capsys.readouterr()

    return run


def write(file, header, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


def scores_of(model, folder):
    """What a model gives the images, what people gave them, and their generators."""
    with (folder / "points.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with pscr.open(model, device="cpu", threads=1) as scorer:
        scores = [scorer.score(folder / row["path"]).score for row in rows]
    return np.array(scores), np.array([float(row["score"]) for row in rows]), [row["generator"] for row in rows]


def lines_of(out, name):
    """The figures of each line of the table that begins with a name."""
    return [line.split()[len(name.split()) :] for line in out.splitlines() if line.strip().startswith(name + " ")]


def test_several_databases_stand_in_one_table_each_with_its_figures(evaluate, folder, tiny_model):
    code, out, _ = evaluate(data=("points.csv", "percent.csv"))
    scores, opinions, _ = scores_of(tiny_model, folder)
    expected = agreement(scores, opinions)
    assert code == 0
    assert out.count("PLCC fitted") == 1
    assert "points (score), 24 images" in out
    assert "percent (score), 24 images" in out
    points, percent = lines_of(out, "tiny 0.0.1")
    assert points[0] == "24"
    assert [float(cell) for cell in points[1:4]] == pytest.approx(
        [expected[name] for name in ("srcc", "krcc", "plcc")], abs=6e-4
    )
    assert points[1:5] == percent[1:5]
    assert float(percent[5]) == pytest.approx(20 * float(points[5]), rel=0.05)


def test_no_raw_error_is_shown_where_scores_and_labels_have_different_scales(evaluate):
    rows = [line.split()[0:2] for line in evaluate(data=("percent.csv",))[1].splitlines()]
    assert ["RMSE", "fitted"] in rows
    assert sum(row[0] == "RMSE" for row in rows) == 1
    rows = [line.split()[0:2] for line in evaluate(data=("points.csv",))[1].splitlines()]
    assert sum(row[0] == "RMSE" for row in rows) == 2


def test_each_group_has_its_figures_and_the_order_within_groups_is_one(evaluate, folder, tiny_model):
    code, out, _ = evaluate("--by", "generator", "--csv", folder / "out.csv")
    scores, opinions, groups = scores_of(tiny_model, folder)
    assert code == 0
    rows = lines_of(out, "tiny 0.0.1")
    assert [row[0] for row in rows] == ["24", "12", "12", "24"]
    bright = np.array(groups) == "bright"
    expected = agreement(scores[bright], opinions[bright])["srcc"]
    assert float(rows[1][1]) == pytest.approx(expected, abs=6e-4)
    within = within_groups(scores, opinions, groups, resamples=50)
    assert "within generator (2 groups)" in out
    assert float(rows[3][1]) == pytest.approx(within.value, abs=6e-4)
    with (folder / "out.csv").open() as stream:
        assert [row["group"] for row in csv.DictReader(stream)] == groups


def test_small_groups_are_counted_and_not_listed(evaluate, folder):
    code, out, _ = evaluate("--by", "path")
    assert code == 0
    assert "(24 of 24 with fewer than 10 images are not listed)" in out


def test_two_models_are_compared_on_the_same_images_with_a_paired_interval(evaluate, folder, tiny_model, other_model):
    code, out, errors = evaluate("--against", other_model, "--csv", folder / "out.csv")
    assert code == 0, errors
    first, opinions, _ = scores_of(tiny_model, folder)
    second, _, _ = scores_of(other_model, folder)
    expected = paired(first, second, opinions, resamples=50)
    (row,) = lines_of(out, "the first less the second")
    assert row[0] == "24"
    assert [float(cell) for cell in row[1:4]] == pytest.approx(
        [expected[name].value for name in ("srcc", "krcc", "plcc")], abs=6e-4
    )
    assert all(cell[0] in "+-" for cell in row[1:])
    with (folder / "out.csv").open() as stream:
        models = [row["model"] for row in csv.DictReader(stream)]
    assert models == [str(tiny_model)] * 24 + [str(other_model)] * 24  # both are called tiny 0.0.1


def test_other_metrics_stand_beside_the_model_with_their_signs(evaluate, folder):
    with (folder / "points.csv").open() as stream:
        rows = [(row["path"], -float(row["score"]), float(row["score"]) ** 3) for row in csv.DictReader(stream)]
    write(folder / "peers.csv", ("path", "WORSE", "CUBE"), rows)
    code, out, _ = evaluate("--peers", folder / "peers.csv")
    assert code == 0
    assert lines_of(out, "WORSE")[0][:4] == ["24", "-1.000", "-1.000", "-1.000"]
    assert lines_of(out, "CUBE")[0][1:3] == ["1.000", "1.000"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows[:-1], "lacks 1 of the 24 images, images/23.png is the first"),
        (lambda rows: [(name + "x", value) for name, value in rows], "has no image of the data"),
        (lambda rows: [(rows[0][0], "nan"), *rows[1:]], "row 2: the A is nan; expected a finite number"),
        (lambda rows: [(rows[0][0], "good"), *rows[1:]], "row 2: the A 'good' is not a number"),
        (lambda rows: [rows[0], *rows], "row 3: the path is there twice: images/00.png"),
        (lambda rows: [("", 1), *rows], "row 2: the path is empty"),
        (lambda rows: [(*rows[0], 9), *rows[1:]], "row 2: has 3 cells, the header 2"),
    ],
)
def test_a_table_of_peers_that_cannot_be_used_is_one_line_before_anything_is_scored(
    evaluate, folder, change, complaint
):
    rows = [(f"images/{index:02}.png", index) for index in range(24)]
    write(folder / "peers.csv", ("path", "A"), change(rows))
    code, out, errors = evaluate("--peers", folder / "peers.csv")
    assert (code, out) == (2, "")
    assert complaint in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("text", ["", "path\n", "name,A\nimages/00.png,1\n"])
def test_a_table_of_peers_without_its_columns_is_refused(evaluate, folder, text):
    (folder / "peers.csv").write_text(text)
    code, _, errors = evaluate("--peers", folder / "peers.csv")
    assert code == 2
    assert "peers.csv: has no " in errors
    assert evaluate("--peers", folder / "none.csv")[0] == 3


def test_a_bank_of_ones_own_votes_on_its_own_scale(evaluate, folder, tiny_model):
    with (folder / "percent.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    chosen = [Labelled(row["path"], folder / row["path"], float(row["score"])) for row in rows[::3]]
    build(tiny_model, chosen, "cpu", 1)[0].write(folder / "bank.npz")
    code, out, errors = evaluate("--bank", folder / "bank.npz", data=("percent.csv",))
    assert code == 0
    assert out.startswith("tiny 0.0.1 with bank.npz on 16 images")
    assert "8 images are left out" in errors
    assert any(line.split()[:1] == ["RMSE"] and "fitted" not in line for line in out.splitlines())


def test_a_bank_of_another_model_is_an_unusable_model(evaluate, folder, other_model):
    with (folder / "percent.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    chosen = [Labelled(row["path"], folder / row["path"], float(row["score"])) for row in rows[:6]]
    scale = ScoreScale("made up", "here", (-1000, 1000), higher_is_better=False)  # as its scores happen to run
    build(other_model, chosen, "cpu", 1, scale=scale)[0].write(folder / "bank.npz")
    code, out, errors = evaluate("--bank", folder / "bank.npz")
    assert (code, out) == (3, "")
    assert "the bank was built with another model" in errors
    assert errors.count("\n") == 1
    assert evaluate("--bank", folder / "none.npz")[0] == 3


@pytest.mark.parametrize(
    ("words", "data", "code", "says"),
    [
        (["--split", "all"], ("points.csv", "percent.csv"), 2, "--data is given 2 times and --split 1 times"),
        (["--split", "all", "--split", "all"], ("points.csv",), 2, "--data is given 1 times and --split 2 times"),
        (["--resamples", "0"], ("points.csv",), 2, "--resamples 0"),
        (["--calibrate"], ("points.csv", "percent.csv"), 2, "--calibrate measures the model's own bank"),
        (["--nonsense"], ("points.csv",), 2, "unrecognized arguments: --nonsense"),
        (["--by", "prompt"], ("points.csv",), 2, "has no column 'prompt'"),
        (["--group-column", "text"], ("points.csv",), 2, "has no column 'text'"),
        (["--against", "nowhere"], ("points.csv",), 3, "model 'nowhere' is not known"),
        (["--csv", "{folder}"], ("points.csv",), 2, "is a folder"),
        (["--csv", "{folder}/none/out.csv"], ("points.csv",), 2, "there is no folder"),
    ],
)
def test_a_command_line_or_file_that_is_wrong_is_one_line_and_its_exit_code(evaluate, folder, words, data, code, says):
    found, out, errors = evaluate(*(word.format(folder=folder) for word in words), data=data)
    assert (found, out) == (code, "")
    assert says in errors
    assert errors.count("\n") == 1


def test_a_file_that_is_tried_first_is_left_as_it_was(evaluate, folder):
    (folder / "old.csv").write_text("mine")
    for name in ("old.csv", "new.csv"):
        assert evaluate("--csv", folder / name, "--against", "nowhere")[0] == 3
    assert (folder / "old.csv").read_text() == "mine"
    assert not (folder / "new.csv").exists()


def test_a_split_for_each_database_in_their_order(evaluate):
    code, out, _ = evaluate("--split", "image:0.5:1", "--split", "all", data=("points.csv", "percent.csv"))
    assert code == 0
    assert "points (score), 12 images" in out
    assert "percent (score), 24 images" in out


def test_names_of_files_cannot_steer_the_terminal(evaluate, folder):
    name = "images/\x1b[2J\rgone.png"
    (folder / name).write_bytes(b"not an image")
    with (folder / "points.csv").open("a", newline="") as stream:
        csv.writer(stream).writerow((name, 1, "a\x1bb"))
    code, out, errors = evaluate("--by", "generator", "--csv", folder / "out.csv")
    assert code == 1
    assert r"\x1b[2J\rgone.png: DECODE_FAILED" in errors
    assert "\x1b" not in out + errors
    assert "\r" not in out + errors


def test_the_plot_has_a_panel_for_each_database(evaluate, folder):
    pytest.importorskip("matplotlib")
    code, _, errors = evaluate("--plot", folder / "plot.png", data=("points.csv", "percent.csv"))
    assert code == 0, errors
    assert cv2.imread(str(folder / "plot.png")).shape == (780, 1920, 3)


BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Wall(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "onnx", "safetensors", "accelerate", "PIL", "pandas"):
            raise ModuleNotFoundError(name + " is not there", name=name)

sys.meta_path.insert(0, Wall())
from pscr.commands.main import main
words = ["--data", {data!r}, "--by", "generator", "--device=cpu", "--threads=1", "--resamples=20"]
sys.exit(main(["evaluate", {model!r}, *words, "--against", {other!r}, "--peers", {peers!r}]))
"""


def test_evaluating_works_where_torch_cannot_be_imported(folder, tiny_model, other_model):
    write(folder / "peers.csv", ("path", "A"), [(f"images/{index:02}.png", index) for index in range(24)])
    names = {"data": f"csv:{folder / 'points.csv'}", "model": str(tiny_model), "other": str(other_model)}
    program = BLOCKED.format(**names, peers=str(folder / "peers.csv"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "within generator (2 groups)" in done.stdout


@pytest.mark.parametrize("missing", ["scipy", "tqdm"])
def test_a_missing_library_names_the_extra_of_evaluating(missing, tiny_model, folder):
    words = ["evaluate", str(tiny_model), "--data", f"csv:{folder / 'points.csv'}"]
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from pscr.commands.main import main; sys.exit(main({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert f"needs the Python module {missing}" in done.stderr
    assert "pip install 'pscr[evaluate]'" in done.stderr
    assert done.stderr.count("\n") == 1
