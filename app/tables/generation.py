"""How an image was made, as far as its file says: the text that ComfyUI and AUTOMATIC1111 put into their PNG files.

It is other people's text and may be anything: it is cut to a length, and what cannot be read is an empty cell.
Source: ComfyUI's `prompt` (the graph that ran: nodes by number, with class_type and inputs) and `workflow` (that of its
editor: nodes with type and widgets_values); AUTOMATIC1111's `parameters` (prompt, negative prompt, settings).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runtime.image_png import texts
from .inputs import Item

NAMES = ("model", "sampler", "steps", "seed", "prompt")
_LONGEST = {"prompt": 10_000}
_LONGEST_OTHER = 200  # characters
_MOST_HOPS = 32  # from node to node
_LONGEST_LINE = 4096  # of settings
_SETTING = re.compile(r' {0,8}([\w \-/]{1,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_MODEL_INPUTS = ("ckpt_name", "unet_name", "model_name")
_PROMPT_INPUTS = ("text", "text_g", "t5xxl", "string", "value", "prompt")
_LINKED = ("conditioning", "positive", "guider", "conditioning_1", "clip", "model", "sampler", "noise", "sigmas")
# The inputs of the editor's nodes have no names; where each stands in widgets_values.
_WIDGETS = {
    "KSampler": ("seed", "", "steps", "", "sampler_name"),
    "KSamplerAdvanced": ("", "noise_seed", "", "steps", "", "sampler_name"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "UNETLoader": ("unet_name",),
    "CLIPTextEncode": ("text",),
}


def described(items: Iterator[Item], names: Mapping[str, str]) -> Iterator[Item]:
    """The items with what their PNG files say beside them. names: what the column of each of `NAMES` is called."""
    for item in items:
        said = {} if item.problem else said_by(_texts(item))
        yield replace(item, cells={**item.cells, **{names[name]: said.get(name) for name in NAMES}})


def said_by(found: Mapping[str, str]) -> dict[str, str]:
    """What text chunks, by keyword, say under `NAMES`; nothing of what they do not say."""
    said = _of_parameters(found.get("parameters", ""))
    for keyword, nodes_of in (("prompt", _of_prompt), ("workflow", _of_workflow)):
        if not said:
            said = _of_graph(nodes_of(_json(found.get(keyword, ""))))
    return {name: _bounded(name, value) for name, value in said.items() if value not in (None, "")}


def _texts(item: Item) -> dict[str, str]:
    if isinstance(item.source, bytes):
        return texts(io.BytesIO(item.source))
    try:
        if not Path(item.path).is_file():  # a pipe would wait
            return {}
        with Path(item.path).open("rb") as stream:
            return texts(stream)
    except (OSError, ValueError):
        return {}


def _bounded(name: str, value: Any) -> str:
    text = " ".join(str(value).split()) if name != "prompt" else str(value).strip()
    return text[: _LONGEST.get(name, _LONGEST_OTHER)].replace("\0", "").encode("utf-8", "replace").decode()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- AUTOMATIC1111 ----------------------------------------------------------------------------------------------------


def _of_parameters(text: str) -> dict[str, Any]:
    """Of the prompt, then `Negative prompt: ...`, then a line such as `Steps: 20, Sampler: Euler a, Seed: 1`."""
    prompt, found, line = f"\n{text}".rpartition("\nSteps: ")
    if not found:
        return {}
    line = f"Steps: {line.partition(chr(10))[0][:_LONGEST_LINE]}"
    settings = {key.strip().lower(): value.strip('" ') for key, value in _SETTING.findall(line)}
    prompt = prompt.partition("\nNegative prompt:")[0].strip()
    said: dict[str, Any] = {name: settings.get(name) for name in NAMES if name != "prompt"}
    return {**said, "prompt": prompt}


# --- ComfyUI ----------------------------------------------------------------------------------------------------------

_Nodes = dict[str, dict[str, Any]]  # inputs by name, by the node's number; an input that comes from a node is a list


def _of_prompt(graph: Any) -> _Nodes:
    nodes = graph.items() if isinstance(graph, dict) else ()
    return {str(number): _dict(_dict(node).get("inputs")) for number, node in nodes}


def _of_workflow(graph: Any) -> _Nodes:
    """The editor's graph in the form of the other."""
    sources = {link[0]: [str(link[1]), link[2]] for link in _lists(_dict(graph).get("links"), 5) if _plain(link[0])}
    found: _Nodes = {}
    for node in map(_dict, _list(_dict(graph).get("nodes"))):
        linked = [one for one in map(_dict, _list(node.get("inputs"))) if _plain(one.get("link"))]
        inputs: dict[str, Any] = {str(one.get("name")): sources.get(one["link"]) for one in linked}
        names, values = _WIDGETS.get(str(node.get("type")), ()), _list(node.get("widgets_values"))
        inputs |= {name: value for name, value in zip(names, values, strict=False) if name}
        found[str(node.get("id"))] = inputs
    return found


def _of_graph(nodes: _Nodes) -> dict[str, Any]:
    """What the first node that samples says, and the nodes that lead to it."""
    sampler = next((inputs for inputs in nodes.values() if "steps" in inputs and _seed(inputs) is not None), None)
    if sampler is None:
        return {}
    return {
        "model": _followed(nodes, sampler.get("model"), _MODEL_INPUTS),
        "sampler": _followed(nodes, sampler.get("sampler_name"), ("sampler_name",)),
        "steps": _followed(nodes, sampler.get("steps"), ("steps", "value")),
        "seed": _followed(nodes, _seed(sampler), ("seed", "noise_seed", "value")),
        "prompt": _followed(nodes, sampler.get("positive"), _PROMPT_INPUTS),
    }


def _seed(inputs: dict[str, Any]) -> Any:
    return inputs.get("seed", inputs.get("noise_seed"))


def _followed(nodes: _Nodes, value: Any, names: tuple[str, ...]) -> Any:
    """A value, or where it comes from a node, what that says under one of the names, or a node before it."""
    for _ in range(_MOST_HOPS):
        if not isinstance(value, list):
            return value if isinstance(value, (str, int, float)) else None
        inputs = nodes.get(str(value[0]), {}) if value else {}
        value = next((inputs[name] for name in (*names, *_LINKED) if inputs.get(name) is not None), None)
    return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _lists(value: Any, shortest: int) -> list[list[Any]]:
    return [one for one in _list(value) if isinstance(one, list) and len(one) >= shortest]


def _plain(value: Any) -> bool:
    return isinstance(value, (int, str))
