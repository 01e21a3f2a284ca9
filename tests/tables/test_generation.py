"""How an image was made, by what its PNG file says: of the two programs' own forms, and of anything else nothing."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from cli_testing import write_image

from pscr.runtime.image_png import texts
from pscr.tables.generation import NAMES, described, said_by
from pscr.tables.inputs import Item

PARAMETERS = """a cat, (best quality:1.2)
on a mat
Negative prompt: blurry, Steps: 3
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 123, Size: 512x512, Model: v1-5, Lora: "a: 1, b: 2"
"""
PROMPT = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 2**64 - 1, "steps": 20, "sampler_name": "euler", "model": ["10", 0], "positive": ["7", 0]},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox ü", "clip": ["4", 1]}},
    "7": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["6", 0], "strength": 1}},
    "10": {"class_type": "LoraLoader", "inputs": {"model": ["4", 0], "lora_name": "x"}},
}
WORKFLOW = {
    "nodes": [
        {
            "id": 3,
            "type": "KSampler",
            "inputs": [{"name": "model", "link": 1}, {"name": "positive", "link": 2}],
            "widgets_values": [5, "fixed", 30, 7.0, "heun", "normal", 1],
        },
        {"id": 4, "type": "CheckpointLoaderSimple", "widgets_values": ["w.ckpt"]},
        {"id": 6, "type": "CLIPTextEncode", "widgets_values": ["a bird"]},
    ],
    "links": [[1, 4, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"]],
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(file: Path, *chunks: bytes) -> bytes:
    data = file.read_bytes()
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.fixture
def png(tmp_path: Path) -> Path:
    return write_image(tmp_path / "a.png")


def test_parameters_of_automatic1111() -> None:
    expected = ("v1-5", "DPM++ 2M Karras", "20", "123", "a cat, (best quality:1.2)\non a mat")
    assert said_by({"parameters": PARAMETERS}) == dict(zip(NAMES, expected, strict=True))


def test_the_graph_of_comfyui_is_followed_to_model_and_prompt() -> None:
    expected = ("sdxl.safetensors", "euler", "20", str(2**64 - 1), "a fox ü")
    assert said_by({"prompt": json.dumps(PROMPT)}) == dict(zip(NAMES, expected, strict=True))


def test_the_editors_graph_is_read_where_the_other_is_not_there() -> None:
    expected = ("w.ckpt", "heun", "30", "5", "a bird")
    assert said_by({"workflow": json.dumps(WORKFLOW)}) == dict(zip(NAMES, expected, strict=True))
    assert said_by({"prompt": json.dumps(PROMPT), "workflow": json.dumps(WORKFLOW)})["sampler"] == "euler"


@pytest.mark.parametrize(
    "said",
    [
        "",
        '{"3": {"inputs"',
        "[" * 200_000,
        "[1, 2]",
        '{"3": 5, "4": {"inputs": [1]}}',
        '{"3": {"inputs": {"seed": [], "steps": [[]], "model": [{}], "positive": null}}}',
        '{"3": {"inputs": {"seed": 1, "steps": 1, "model": ["3", 0], "positive": ["9", 0]}}}',
        '{"nodes": 3, "links": [1, [[], {}, 1, 1, 1]]}',
        '{"nodes": [3, {"id": [], "type": {}, "inputs": [4, {"link": []}], "widgets_values": {}}], "links": {}}',
        '{"3": {"inputs": {"seed": ' + "9" * 10_000 + "}}}",
    ],
)
def test_what_is_broken_says_nothing_and_is_no_error(said: str) -> None:
    found = said_by({"parameters": said, "prompt": said, "workflow": said})
    assert set(found) <= {"steps", "seed"}


def test_texts_are_cut_to_a_length_and_can_be_written_anywhere() -> None:
    graph: dict[str, Any] = json.loads(json.dumps(PROMPT))
    graph["6"]["inputs"]["text"] = "x\0\ud800" * 10_000
    graph["3"]["inputs"]["sampler_name"] = "y\n" * 1000
    found = said_by({"prompt": json.dumps(graph)})
    assert len(found["prompt"]) <= 10_000
    assert len(found["sampler"]) == 200
    assert all("\0" not in text and text.encode() for text in found.values())
    assert "\n" not in found["sampler"]


def test_all_three_kinds_of_text_chunks_are_read(png: Path) -> None:
    data = with_chunks(
        png,
        chunk(b"tEXt", b"one\0caf\xe9"),
        chunk(b"zTXt", b"two\0\0" + zlib.compress(b"packed")),
        chunk(b"iTXt", b"three\0\0\0de\0drei\0" + "füchse".encode()),
        chunk(b"iTXt", b"four\0\1\0\0\0" + zlib.compress("vögel".encode())),
        chunk(b"tEXt", b"one\0again"),
    )
    assert texts(io.BytesIO(data)) == {"one": "café", "two": "packed", "three": "füchse", "four": "vögel"}


def test_a_text_that_unpacks_to_much_is_cut_off(png: Path) -> None:
    bomb = zlib.compress(b" " * (1 << 27))
    found = texts(io.BytesIO(with_chunks(png, *[chunk(b"zTXt", b"%d\0\0" % n + bomb) for n in range(20)])))
    assert 0 < sum(map(len, found.values())) <= 1 << 22


@pytest.mark.parametrize("damage", ["cut", "no png", "endless"])
def test_a_damaged_file_gives_the_texts_before_the_damage(png: Path, damage: str) -> None:
    data = with_chunks(png, chunk(b"tEXt", b"one\0text"), chunk(b"zTXt", b"two\0\0no zlib"))
    given = {
        "cut": data[: data.index(b"two") + 2],
        "no png": b"GIF89a" + data,
        "endless": data[:60] + struct.pack(">I4s", 0xFFFFFFFF, b"tEXt") + data[60:],
    }[damage]
    found = texts(io.BytesIO(given))
    assert found.get("one", "text") == "text"
    assert not found if damage == "no png" else True


def test_items_get_the_cells_wherever_the_image_lies(png: Path, tmp_path: Path) -> None:
    data = with_chunks(png, chunk(b"tEXt", b"parameters\0" + PARAMETERS.encode()))
    png.write_bytes(data)
    jpeg = write_image(tmp_path / "b.jpg")
    items = [
        Item(str(png)),
        Item("x", source=data, cells={"n": 1}),
        Item(str(jpeg)),
        Item("none.png"),
        Item("", "gone"),
    ]
    cells = [item.cells for item in described(iter(items), {name: f"png_{name}" for name in NAMES})]
    assert [cell["png_model"] for cell in cells] == ["v1-5", "v1-5", None, None, None]
    assert cells[1]["n"] == 1
