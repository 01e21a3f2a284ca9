"""The service gives the library's own scores, whatever way and however many at once the images come."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import cv2
import httpx
import numpy as np
import pytest
from serve_testing import picture

import pscr

JPEG = {"Content-Type": "image/jpeg"}


def test_an_image_as_the_body_has_the_librarys_score(client: httpx.Client, scorer: pscr.Scorer) -> None:
    for seed, ending in enumerate((".jpg", ".png", ".webp")):
        data = picture(seed, ending)
        answer = client.post("/v1/score", content=data, headers={"Content-Type": f"image/{ending[1:]}"})
        assert answer.status_code == 200
        (one,) = answer.json()["results"]
        own = scorer.score(data)
        assert one["score"] == pytest.approx(own.score, abs=1e-5)
        assert one["spread"] == pytest.approx(own.spread, abs=1e-5)
        assert (one["width"], one["height"], one["status"], one["interval"]) == (96, 96, "OK", None)


def test_a_body_without_a_length_and_without_a_type_is_read(client: httpx.Client, scorer: pscr.Scorer) -> None:
    data = picture(3)
    parts = (data[place : place + 100] for place in range(0, len(data), 100))
    answer = client.post("/v1/score", content=parts)
    assert "content-length" not in answer.request.headers
    assert answer.json()["results"][0]["score"] == pytest.approx(scorer.score(data).score, abs=1e-5)


def test_several_images_come_back_in_order_each_with_its_own_status(client: httpx.Client, scorer: pscr.Scorer) -> None:
    images = [picture(5), b"no image", picture(6, ".png"), b""]
    names = ["b.jpg", "notes.txt", "größe.png", "a.jpg"]
    files = [("image", (name, data)) for name, data in zip(names, images, strict=True)]
    answer = client.post("/v1/score", files=files)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [one["name"] for one in results] == names
    assert [one["status"] for one in results] == ["OK", "DECODE_FAILED", "OK", "DECODE_FAILED"]
    assert results[0]["score"] == pytest.approx(scorer.score(images[0]).score, abs=1e-5)
    assert results[2]["score"] == pytest.approx(scorer.score(images[2]).score, abs=1e-5)
    assert results[1]["score"] is None
    assert "not an image" in results[1]["message"]


def counts(client: httpx.Client) -> tuple[float, float]:
    text = client.get("/metrics").text
    return tuple(float(re.search(rf"^pscr_batch_images_{key} (\S+)", text, re.M)[1]) for key in ("sum", "count"))


def test_requests_that_come_together_are_batched_and_each_gets_its_own_score(
    client: httpx.Client, scorer: pscr.Scorer
) -> None:
    images = [picture(seed, side=64 + seed) for seed in range(40)]
    images_before, batches_before = counts(client)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda data: client.post("/v1/score", content=data, headers=JPEG), images))
    assert [answer.status_code for answer in answers] == [200] * 40
    for answer, data in zip(answers, images, strict=True):
        assert answer.json()["results"][0]["score"] == pytest.approx(scorer.score(data).score, abs=1e-4)
    images_after, batches_after = counts(client)
    assert images_after - images_before == 40
    assert batches_after - batches_before < 40


def test_the_map_is_the_librarys_as_numbers_and_as_a_picture(client: httpx.Client, scorer: pscr.Scorer) -> None:
    data = picture(8, side=128)
    numbers = client.post("/v1/map", params={"format": "json"}, content=data, headers=JPEG).json()
    own = pscr.quality_map(scorer, data)
    assert np.allclose(numbers["values"], own.values, atol=1e-4)
    assert numbers["corners_x"] == own.corners_x.tolist()
    assert (numbers["width"], numbers["window"]) == (128, own.window)
    answer = client.post("/v1/map", content=data, headers=JPEG)
    assert answer.headers["content-type"] == "image/png"
    assert cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3


def test_info_says_what_is_open_and_names_no_folder(client: httpx.Client, tiny_model: object) -> None:
    answer = client.get("/v1/info")
    assert (answer.json()["model"], answer.json()["batching"]["images"]) == ("tiny", 4)
    assert str(tiny_model) not in answer.text


def test_metrics_count_images_by_status_and_time_every_stage(client: httpx.Client) -> None:
    client.post("/v1/score", content=picture(1), headers=JPEG)
    client.post("/v1/score", content=b"text", headers=JPEG)
    client.post("/v1/map", content=picture(1), headers=JPEG)
    text = client.get("/metrics").text
    for status in ("OK", "DECODE_FAILED"):
        assert float(re.search(rf'pscr_images_total{{status="{status}"}} (\S+)', text)[1]) >= 1
    for stage in ("receive", "queue", "decode", "gather", "infer", "map", "request"):
        assert float(re.search(rf'pscr_stage_seconds_count{{stage="{stage}"}} (\S+)', text)[1]) >= 1, stage
    assert re.search(r"^pscr_queue_images 0.0$", text, re.M)
    assert re.search(r"^pscr_held_bytes 0.0$", text, re.M)
    assert re.search(r"^pscr_connections [1-9]", text, re.M)
    assert "process_resident_memory_bytes" in text


def test_health_is_told(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
