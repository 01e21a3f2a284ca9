"""The service says what an image looks like where it is asked to, beside the same score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tiny_diagnosis
import tiny_model as tiny
from serve_process import serving
from serve_testing import picture

import pscr

FIELDS = {"kind", "degree", "probability"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.write(tmp_path_factory.mktemp("models") / "diagnosing")
    tiny_diagnosis.add(folder)
    return folder


@pytest.fixture(scope="module")
def diagnosing(model: Path) -> Iterator[httpx.Client]:
    with serving(model) as served, httpx.Client(base_url=served.url, timeout=30) as client:
        yield client


def test_each_image_has_the_librarys_diagnosis(diagnosing: httpx.Client, model: Path) -> None:
    images = [picture(1), b"no image", picture(2)]
    files = [("image", (f"{n}.jpg", data)) for n, data in enumerate(images)]
    found = diagnosing.post("/v1/score", files=files, params={"diagnose": "1"}).json()["results"]
    plain = diagnosing.post("/v1/score", files=files).json()["results"]
    assert [{key: one[key] for key in set(one) - FIELDS} for one in found] == plain
    with pscr.open(model, "cpu", 1) as scorer:
        for one, data in zip(found[::2], images[::2], strict=True):
            own = scorer.score(data, diagnose=True).diagnosis
            assert own is not None
            assert one["kind"] == own.kind
            assert one["degree"] == pytest.approx(own.degree, abs=1e-4)
            assert one["probability"] == pytest.approx(own.probability, abs=1e-4)
    assert (found[1]["kind"], found[1]["degree"], found[1]["probability"]) == ("", None, None)


def test_a_model_without_one_refuses_the_request(client: httpx.Client) -> None:
    answer = client.post("/v1/score", content=picture(1), params={"diagnose": "1"})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    assert "diagnosis.npz" in answer.json()["detail"]
    assert not FIELDS & set(client.post("/v1/score", content=picture(1)).json()["results"][0])
