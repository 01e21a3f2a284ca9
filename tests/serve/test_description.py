"""The OpenAPI description is what the service does: schemathesis asks all of it, and nothing ends in a 5xx."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from serve_process import Served


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_the_description_does_not_have(served: Served, tmp_path: Path) -> None:
    """Some 200 requests with data that fits the description, images too, and data that does not; all its checks."""
    words = ["run", f"{served.url}/openapi.json", "--max-examples", "40", "--seed", "1", "--no-color"]
    words += ["--exclude-checks", "positive_data_acceptance"]  # a description cannot say which bytes are an image
    words += ["--request-timeout", "20", "--report", "junit", "--report-junit-path", str(tmp_path / "report.xml")]
    schemathesis = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run([str(schemathesis), *words], capture_output=True, text=True, timeout=200, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "/v1/score" in (tmp_path / "report.xml").read_text()
    text = httpx.get(f"{served.url}/metrics").text
    assert 'code="5' not in text, [line for line in text.splitlines() if 'code="5' in line]


def test_the_description_names_every_limit_and_route(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/v1/score", "/v1/map", "/v1/info", "/metrics", "/healthz", "/readyz"}
    content = schema["paths"]["/v1/score"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["image"]["maxItems"] == 5
    assert "DECODE_FAILED" in schema["components"]["schemas"]["ProblemAnswer"]["properties"]["code"]["enum"]
    assert "HTTPValidationError" not in json.dumps(schema)


def test_the_page_of_the_description_has_every_route_and_asks_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs")
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert "https://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
