"""The table beside other metrics has a row for each, also for one that fails; a metric's process says why it fails."""

import sys

import peers
import peers_worker
import pytest
import readme_table

from pscr.bench.record import Record

HEADER = {"date": "2026-11-27", "processor": "A CPU", "cores": 2, "threads": 2, "idle": True}
FACTS = {
    "pscr": {"versions": {"pscr": "1.0.0", "numpy": "2.4.6"}, "installed_mb": 371, "cuda_mb": 0},
    "pyiqa": {"versions": {"pyiqa": "0.1.16", "torch": "2.14.1"}, "installed_mb": 7329, "cuda_mb": 4334},
}


class Answers:
    """Stands for a metric's process: what each verb gives, an exception being raised."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def ask(self, verb, *words):
        self.asked.append((verb, *words))
        answer = self.answers[verb]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def measured(tmp_path):
    """A metric that scores images in 10, 20 and 60 ms, one that fails while it scores, and one that was not built."""
    rows = [peers.row("pyiqa", name, "the whole image") for name in ("cnniqa", "dbcnn", "maniqa")]
    rows[0]["cold_start_s"] = rows[1]["cold_start_s"] = 9.87
    rows[2]["failed"] = "ModuleNotFoundError: No module named 'einops'"
    works = Answers(score=[20.0, 10.0, 60.0], peak=878.4, folder=4.0)
    fails = Answers(score=peers.PeerError("the process ended with -9"))
    processes = {"cnniqa": works, "dbcnn": fails}
    for side in peers.SIDES:
        peers.turns(rows, processes, side, ["a.jpg"], 6.0)
    peers.folder(rows[0], works, tmp_path / "folder", [b"a", b"b"], 0.2)
    return rows, processes


def test_turns_fill_a_row_and_a_metric_that_failed_is_not_asked_again(measured):
    rows, processes = measured
    assert (rows[0]["p50_512_ms"], rows[0]["p50_1024_ms"], rows[0]["peak_512_mib"]) == (20.0, 20.0, 878)
    assert rows[0]["images_512"] == 3 * peers.TURNS
    assert processes["cnniqa"].asked[0] == ("score", ["a.jpg"], 2.0)
    assert rows[1]["failed"] == "the process ended with -9"
    assert len(processes["dbcnn"].asked) == 1


def test_the_folder_holds_what_the_seconds_allow(measured, tmp_path):
    rows, _ = measured
    files = sorted((tmp_path / "folder").iterdir())
    assert len(files) == rows[0]["folder_images"] == 10
    assert [file.read_bytes() for file in files[:3]] == [b"a", b"b", b"a"]
    assert rows[0]["folder_images_per_s"] == 2.5
    few = peers.row("pyiqa", "maniqa", "") | {"p50_512_ms": 35_000.0}
    peers.folder(few, Answers(folder=105.0), tmp_path / "few", [b"a"], 6.0)
    assert (few["folder_images"], few["folder_images_per_s"]) == (3, 0.0286)


def test_the_table_has_a_row_for_each_metric_and_says_why_one_has_no_figures(measured):
    rows, _ = measured
    record = Record("peers", "python benchmarks/peers.py --peers-python python", HEADER, peers.KEYS, rows, FACTS)
    text = readme_table.page("<!-- peers: begin -->\n<!-- peers: end -->", readme_table.peers([record]), "peers")
    assert "| pyiqa, cnniqa | the whole image | 20 | 20 | 2.5 | 878 | 878 | 9.9 |" in text
    assert "| pyiqa, dbcnn | no figures: the process ended with -9 |" in text
    assert "| pyiqa, maniqa | no figures: ModuleNotFoundError: No module named 'einops' |" in text
    assert "- pscr: 371 MB installed with all that it needs (pscr 1.0.0, numpy 2.4.6)" in text
    assert "7329 MB installed with all that it needs, 4334 MB of it NVIDIA's libraries and triton (pyiqa 0.1.16" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert readme_table.details([record]) == "", "it has marks of its own"
    short = readme_table.peers_short([record])
    assert "| cnniqa, of pyiqa | 20 | 2.5 | 878 | 9.9 |" in short
    assert "dbcnn" not in short, "README.md has what gave figures"
    assert "pyiqa 0.1.16, torch 2.14.1, random weights" in short
    assert readme_table.peers_short([]) is None


def test_a_metric_whose_package_is_not_known_says_so_in_one_line(tmp_path):
    with pytest.raises(peers.PeerError, match=r"^KeyError: 'none'$"):
        peers.Peer(sys.executable, "none", "x", 1, str(tmp_path / "none.jpg"))


def test_a_model_of_ours_answers_in_a_process_of_its_own(tmp_path):
    folder = tmp_path / "images"
    files = peers.write(folder, peers.examples(64)[:1], 2)
    peer = peers.Peer(sys.executable, "pscr", "agiqa3k-lite0", 1, files[0])
    try:
        assert peer.cold_s > 0
        assert len(peer.ask("score", files, 0)) == 1
        assert peer.ask("folder", str(folder)) > 0
        assert (tmp_path / "images.csv").read_text().count(",OK,") == 2
        assert peer.ask("peak") > 10
        about = peer.ask("about")
        assert "numpy" in about["versions"]
        assert about["installed_mb"] > 50
        with pytest.raises(peers.PeerError, match="pscr score failed"):
            peer.ask("folder", str(tmp_path / "none"))
        with pytest.raises(peers.PeerError, match="the process ended with 0"):
            peer.ask("peak")
    finally:
        peer.close()


def test_a_score_that_is_no_number_is_no_time():
    assert len(peers_worker.timed(lambda _: 1.0, ["a"], 0)) == 1
    with pytest.raises(ValueError, match="found the score nan"):
        peers_worker.timed(lambda _: float("nan"), ["a"], 0)
