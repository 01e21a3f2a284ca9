"""Self-supervised training: its views and loss are what they should be, runs repeat and resume to the bit, and the
encoder that comes out is a model that a regressor can be fitted on."""

import csv
import json
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

import pscr
from pscr import PscrError
from pscr.commands.main import main as pscr_main
from pscr.training import checkpoint
from pscr.training.contrastive.config import ContrastiveConfig
from pscr.training.contrastive.images import Images
from pscr.training.contrastive.loss import contrastive_loss
from pscr.training.contrastive.network import ContrastiveNetwork
from pscr.training.contrastive.trainer import Trainer
from pscr.training.contrastive.views import COLOURS, SYNTHETIC, Views, distorted, half_scale, recoloured, view, window
from pscr.training.image_folders import images_below
from pscr.training.processes import Processes
from pscr.training.run_folder import RunFolder
from pscr.training.train import main

TINY = ("--pretrained", "none", "--backbone", "resnet18", "--batch", "4", "--crop", "64", "--threads", "1")
CPU = Processes(torch.device("cpu"))


def picture(seed, height=130, width=160):
    cells = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    (folder / "more").mkdir()
    for number in range(6):
        below = folder / "more" if number % 2 else folder
        cv2.imwrite(str(below / f"{number}.png"), picture(number, 130, 150 + 12 * number))
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


def command(folder, run, *words):
    return main(["--method", "contrique", "--images", str(folder), "-o", str(run), *TINY, *map(str, words)])


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert command(folder, run, "--steps", 4, "--save-every", 3) == 0
    return run


def last(run):
    return checkpoint.read(run / "last.safetensors")[0]


def same_tensors(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_same_command_trains_the_same_weights_whatever_the_threads_that_decode(folder, undisturbed, tmp_path):
    assert command(folder, tmp_path / "run", "--steps", 4, "--save-every", 3, "--workers", 5) == 0
    assert same_tensors(last(undisturbed), last(tmp_path / "run"))
    assert command(folder, tmp_path / "other", "--steps", 4, "--seed", 2) == 0
    assert not same_tensors(last(undisturbed), last(tmp_path / "other"))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(folder, undisturbed, tmp_path, monkeypatch):
    run, step = tmp_path / "run", Trainer._step

    def stop_behind_the_second(self, number, batch):
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, number, batch)

    monkeypatch.setattr(Trainer, "_step", stop_behind_the_second)
    assert command(folder, run, "--steps", 4, "--save-every", 3) == 130
    assert len(last(run)["losses"]) == 2
    monkeypatch.setattr(Trainer, "_step", step)
    assert command(folder, run, "--steps", 4, "--save-every", 2) == 0  # how often it is saved may change
    assert same_tensors(last(undisturbed), last(run))
    assert (run / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()


def test_a_run_leaves_its_options_the_loss_of_every_step_and_an_encoder(undisturbed):
    rows = list(csv.DictReader((undisturbed / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert json.loads((undisturbed / "config.json").read_text())["method"] == "contrique"
    encoder = torch.load(undisturbed / "encoder.pth", weights_only=True)
    assert same_tensors(encoder, checkpoint.part("encoder", last(undisturbed)))


def test_frozen_blocks_and_statistics_stay_as_they_were_and_the_others_move(folder, tmp_path):
    assert command(folder, tmp_path / "run", "--steps", 2, "--frozen-blocks", 6) == 0
    torch.manual_seed(1)
    before = ContrastiveNetwork(ContrastiveConfig(("",), backbone="resnet18").spec).encoder.state_dict()
    after = checkpoint.part("encoder", last(tmp_path / "run"))
    moved = {key.split(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert moved == {"layer4"}
    assert not any("running" in key and not torch.equal(value, before[key]) for key, value in after.items())


@pytest.mark.slow
def test_thirty_steps_lower_the_loss(folder, tmp_path):
    assert command(folder, tmp_path / "run", "--steps", 30, "--lr", 2, "--save-every", 30) == 0
    losses = last(tmp_path / "run")["losses"]
    assert losses[-8:].mean() < losses[:4].mean() - 0.5


def test_the_learning_rate_rises_and_falls_as_the_linear_scaling_rule_says(folder, tmp_path):
    config = ContrastiveConfig(
        (str(folder),), backbone="resnet18", pretrained="none", steps=20, batch=64, warmup=0.2, lr=1.6
    )
    trainer = Trainer(config, Images(images_below(config.images)), RunFolder(tmp_path), CPU)
    assert [trainer.rate(step) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    later = [trainer.rate(step) for step in range(4, 20)]
    assert later == sorted(later, reverse=True)
    assert later[0] == pytest.approx(0.1)
    assert 0 < later[-1] < 0.002


def test_the_loss_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    vectors, classes = rng.normal(size=(10, 5)), np.array([0, 0, 1, 1, 1, 2, 2, 0, 3, 3])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    terms = []
    for i in range(10):
        others = [k for k in range(10) if k != i]
        everyone = np.log(sum(np.exp(unit[i] @ unit[k] / 0.1) for k in others))
        terms.append(everyone - np.mean([unit[i] @ unit[j] / 0.1 for j in others if classes[j] == classes[i]]))
    found = contrastive_loss(torch.from_numpy(vectors), torch.from_numpy(classes), 0.1)
    assert found.item() == pytest.approx(np.mean(terms), rel=1e-9)


def test_features_that_have_become_alike_are_said(folder, tmp_path, monkeypatch, capsys):
    def alike(vectors, classes, temperature):
        return contrastive_loss(torch.ones_like(vectors) + 0 * vectors, classes, temperature)

    monkeypatch.setattr("pscr.training.contrastive.trainer.contrastive_loss", alike)
    assert command(folder, tmp_path / "run", "--steps", 2) == 0
    assert "become alike" in capsys.readouterr().err


def test_local_features_are_those_of_the_quarters_of_a_view():
    torch.manual_seed(0)
    network = ContrastiveNetwork(ContrastiveConfig(("",), backbone="resnet18").spec).eval()
    views = torch.from_numpy(np.stack([picture(seed, 64, 64) for seed in range(2)]))
    with torch.inference_mode():
        found = network.local(views, 0)
        pixels = (views.permute(0, 3, 1, 2) - network.mean) / network.std
        maps = network.encoder.maps(network.encoder.stem(pixels, 0), 0)  # [2,512,2,2] of 64 pixels
        pooled = network.encoder(pixels)
    expected = torch.stack([maps[m, :, y, x] for m in range(2) for y in range(2) for x in range(2)])
    torch.testing.assert_close(found, expected / expected.norm(dim=1, keepdim=True))
    torch.testing.assert_close(maps.mean((2, 3)), pooled)


def test_views_are_of_the_crops_size_and_depend_on_seed_step_and_place_alone(folder):
    images = Images(images_below([str(folder)]))
    views = Views(images, 4, 64, seed=3)
    steps = list(views.batches(0, 5, slice(0, 4), workers=3))
    assert [(one.views.shape, one.views.dtype) for one in steps] == [((4, 2, 64, 64, 3), np.uint8)] * 5
    later = list(Views(images, 4, 64, seed=3).batches(3, 5, slice(2, 4), workers=1))
    assert all(np.array_equal(one.views, steps[3 + number].views[2:]) for number, one in enumerate(later))
    assert all(np.array_equal(one.classes, steps[3 + number].classes) for number, one in enumerate(later))
    assert not np.array_equal(steps[0].views, Views(images, 4, 64, seed=4).pair(0, 0)[None])


def test_half_a_batch_is_of_distortions_and_half_of_the_images_own_classes(folder):
    views = Views(Images(images_below([str(folder)])), 8, 64, seed=0)
    classes = np.stack([views.classes(step) for step in range(300)])
    assert set(classes[:, :4].ravel()) == set(range(126))
    assert set(classes[:, 4:].ravel()) == set(range(126, 132))
    assert SYNTHETIC == 126
    seen = [views.image_of(step, place) for step in range(3) for place in range(8)]
    assert [sorted(seen[start : start + 6]) for start in (0, 6, 12, 18)] == [list(range(6))] * 4


def test_every_class_is_another_picture_and_the_first_is_the_original():
    image = picture(0)
    assert distorted(image, 0, 1) is image
    different = [distorted(image, kind, 1).tobytes() for kind in range(1, SYNTHETIC)]
    assert image.tobytes() not in different
    assert len(set(different)) > 115  # the two types whose levels cross zero, and palettes of few colours, may repeat


def test_one_view_is_of_full_and_the_other_of_half_scale():
    image, rng = picture(0, 128, 128), np.random.default_rng(0)
    assert half_scale(image).shape == (64, 64, 3)
    assert np.abs(half_scale(image).astype(int) - image.reshape(64, 2, 64, 2, 3).mean((1, 3))).max() <= 1
    whole = {view(image, 128, rng).tobytes() for _ in range(200)}
    expected = {recoloured(side, name).tobytes() for side in (image, image[:, ::-1].copy()) for name in COLOURS}
    assert whole == expected


def test_a_small_image_is_framed_in_black_and_a_large_one_cut():
    small = view(np.full((20, 30, 3), 200, np.uint8), 64, np.random.default_rng(1))
    assert small.shape == (64, 64, 3)
    assert window(picture(0), 100, np.random.default_rng(0)).shape == (100, 100, 3)
    assert window(picture(0, 90, 300), 100, np.random.default_rng(0)).shape == (90, 100, 3)
    assert half_scale(np.zeros((1, 1, 3), np.uint8)).shape == (1, 1, 3)


def test_several_processes_see_the_parts_of_one_batch(folder):
    views = Views(Images(images_below([str(folder)])), 4, 64, seed=3)
    whole = next(views.batches(0, 1, slice(0, 4), 1))
    parts = [next(views.batches(0, 1, Processes(CPU.device, rank, 2).shard(4), 1)) for rank in range(2)]
    assert np.array_equal(np.concatenate([part.views for part in parts]), whole.views)
    assert all(np.array_equal(part.classes, whole.classes) for part in parts)


@pytest.mark.slow
def test_two_processes_train_as_one_does(folder, tmp_path):
    options = ["--method", "contrique", "--images", str(folder), *TINY, "--steps=3", "--device=cpu", "--lr=0.1"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", "-m", "pscr.training.train"]
    done = subprocess.run(
        [sys.executable, *launch, "-o", str(tmp_path / "two"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("6 images, 3 steps") == 1, "only the first process speaks"
    assert main(["-o", str(tmp_path / "one"), *options]) == 0
    one, two = last(tmp_path / "one"), last(tmp_path / "two")
    assert one.keys() == two.keys()
    for key in one:
        if key != "losses":
            np.testing.assert_allclose(two[key], one[key], atol=1e-4, err_msg=key)
    np.testing.assert_allclose(two["losses"], one["losses"], atol=1e-3)


@pytest.mark.slow
def test_the_encoder_becomes_a_model_that_a_regressor_is_fitted_on(undisturbed, tmp_path, capsys):
    model, head, rows = tmp_path / "model", tmp_path / "head.npz", ["path,score"]
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.GaussianBlur(picture(number), (0, 0), 0.5 + number / 2))
        rows.append(f"{number}.png,{100 - 8 * number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert pscr_main(["export", "onnx", str(undisturbed), "-o", str(model), "--threads", "1"]) == 0
    manifest = json.loads((model / "manifest.json").read_text())
    assert (manifest["family"], manifest["backbone"], manifest["bank"]["features"]) == ("linear", "resnet18", 1024)
    assert (manifest["training"]["method"], manifest["training"]["split"]) == ("contrique", "6 unlabelled images")
    words = [str(tmp_path / "labels.csv"), "--model", str(model), "-o", str(head), "--threads", "1"]
    assert pscr_main(["regress", *words]) == 0
    with pscr.open(str(model), head=str(head), device="cpu") as scorer:
        sharp, blurred = (scorer.score(tmp_path / f"{number}.png").score for number in (0, 11))
    assert sharp > blurred


def test_an_export_refuses_what_needs_scores_and_a_run_that_is_not_at_its_end(folder, undisturbed, tmp_path, capsys):
    output = str(tmp_path / "model")
    assert pscr_main(["export", "onnx", str(undisturbed), "-o", output, "--rank", "3"]) != 0
    assert "--rank" in capsys.readouterr().err
    config = ContrastiveConfig.of(json.loads((undisturbed / "config.json").read_text()), "config.json")
    images = Images(images_below(config.images))
    unfinished = Trainer(config, images, RunFolder(tmp_path / "run"), CPU)
    unfinished.run.write_options({"method": "contrique"})
    unfinished._save()
    assert pscr_main(["export", "onnx", str(tmp_path / "run"), "-o", output]) != 0
    assert "step 0 of 4" in capsys.readouterr().err


def test_a_damaged_image_is_left_out_counted_and_said(folder, tmp_path, capsys):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    assert command(tmp_path, tmp_path / "run", "--steps", 3) == 0
    said = capsys.readouterr().err
    assert said.count("left out: ") == 1
    assert "1.png" in said
    assert "1 of 3 images could not be read" in said


def test_where_no_image_can_be_read_it_is_said(tmp_path, capsys):
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    assert command(tmp_path, tmp_path / "run", "--steps", 1) == 3
    assert "none of the 2 images can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--batch", "1"), 2, "a batch of 1; expected an even number"),
        (("--batch", "5"), 2, "a batch of 5; expected an even number"),
        (("--crop", "32"), 2, "crops of 32 pixels; expected 64 or more"),
        (("--frozen-blocks", "8"), 2, "8 frozen blocks; expected 0 to 7"),
        (("--epochs", "0"), 2, "expected 1 or more"),
        (("--lr", "nan"), 2, "--lr nan"),
        (("--device", "tpu"), 2, "device is 'tpu'"),
        (("--pretrained", "nowhere.pth"), 3, "nowhere.pth: no such checkpoint"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(folder, tmp_path, capsys, words, status, said):
    assert command(folder, tmp_path / "run", *words) == status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_without_images_a_missing_one_and_a_single_image_are_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no image")
    assert command(tmp_path, tmp_path / "run") == 2
    assert "no images in this folder" in capsys.readouterr().err
    assert command(tmp_path / "missing", tmp_path / "run") == 3
    assert "no such folder" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "one.png"), picture(0))
    assert command(tmp_path, tmp_path / "run") == 2
    assert "expected 2 or more" in capsys.readouterr().err


def test_an_unknown_method_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--method", "moco", "-o", "run", "--data", "x"])
    assert ended.value.code == 2
    assert "contrique" in capsys.readouterr().err


def test_a_backbone_without_local_features_is_refused_with_those_that_have_them(folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        command(folder, tmp_path / "run", "--backbone", "timm:convnext_atto.d2_in1k")
    assert ended.value.code == 2
    assert "efficientnet_lite0" in capsys.readouterr().err


def test_another_configuration_or_other_images_do_not_go_on_in_the_same_folder(folder, undisturbed, tmp_path, capsys):
    before = (undisturbed / "last.safetensors").read_bytes()
    assert command(folder, undisturbed, "--steps", 5, "--save-every", 3) == 2
    assert "steps was 4, now 5" in capsys.readouterr().err
    assert command(folder / "more", undisturbed, "--steps", 4) == 2
    assert "begun with 6 other images" in capsys.readouterr().err
    assert (undisturbed / "last.safetensors").read_bytes() == before


def test_a_run_of_the_other_kind_is_told_apart(folder, undisturbed, tmp_path, capsys):
    (tmp_path / "labels.csv").write_text("path,score\n" + "".join(f"{folder}/{n}.png,{n}\n" for n in (0, 2, 4)))
    assert main(["--data", f"csv:{tmp_path / 'labels.csv'}", "-o", str(undisturbed)]) == 3
    assert "a self-supervised run (--method contrique)" in capsys.readouterr().err
    with pytest.raises(PscrError, match="a self-supervised run"):
        RunFolder(undisturbed).config()


def test_the_images_are_found_once_in_order_without_hidden_ones(folder):
    names = [file.name for file in images_below([str(folder), str(folder / "more")])]
    assert sorted(names) == [f"{number}.png" for number in range(6)]


def test_a_loss_that_is_no_number_ends_the_run(folder, tmp_path, capsys):
    assert command(folder, tmp_path / "run", "--steps", 9, "--lr", 1e30, "--clip", 0, "--warmup", 0) == 2
    assert "the loss is no number at step" in capsys.readouterr().err
    assert not (tmp_path / "run" / "last.safetensors").exists()
