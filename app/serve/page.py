"""The pages for people: one to drop an image on, and the service's description. They need no other host."""

from __future__ import annotations

import html
import json
import re
from importlib import resources
from typing import Any

from fastapi import FastAPI, Response

BINARY = {"type": "string", "format": "binary"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def add(app: FastAPI, schema: dict[str, Any], token: bool) -> None:
    """Add the routes of the pages.

    schema: the OpenAPI description, which is shown to people and to programs.
    token: whether the page is to ask for one before it asks the service anything.
    """
    folder = resources.files(__package__) / "static"
    for path, (name, kind) in FILES.items():
        data = (folder / name).read_bytes()
        if token and path == "/":
            data = data.replace(b'<form id="token-form" hidden>', b'<form id="token-form">')
        _serve(app, path, data, kind)
    _serve(app, "/docs", _description(schema).encode(), "text/html")
    _serve(app, "/openapi.json", json.dumps(schema).encode(), "application/json")


def _serve(app: FastAPI, path: str, data: bytes, kind: str) -> None:
    async def route() -> Response:
        return Response(data, media_type=kind)

    app.add_api_route(path, route, include_in_schema=False)


def _description(schema: dict[str, Any]) -> str:
    """The OpenAPI description as a page to read; `/openapi.json` is the one for programs."""
    info = schema["info"]
    rows = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            rows.append(_operation(path, method, operation))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>pscr: what the service can be asked</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        'content="light dark"><link rel="icon" href="icon.svg"><link rel="stylesheet" href="page.css"></head><body>'
        f"<header><h1>pscr {_text(info['version'])}</h1><p>{_text(info['description'])} "
        '<a href="openapi.json">openapi.json</a> says the same to programs. <a href="./">Score an image</a>.</p>'
        f"</header><main>{''.join(rows)}{_types(schema)}</main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><code>{_text(method.upper())} {_text(path)}</code></h2>", _paragraph(operation.get("summary"))]
    parts.append(_paragraph(operation.get("description")))
    if operation.get("security"):
        parts.append("<p>Needs <code>Authorization: Bearer TOKEN</code>.</p>")
    for parameter in operation.get("parameters", ()):
        values, usual = parameter["schema"].get("enum", ()), parameter["schema"].get("default", "")
        if parameter["schema"].get("type") == "boolean":
            values, usual = (0, 1), int(usual)
        name = f"?{parameter['name']}={' | '.join(map(str, values))}"
        parts.append(f"<p>Parameter <code>{_text(name)}</code>, by default <code>{_text(usual)}</code>.</p>")
    kinds = operation.get("requestBody", {}).get("content", {})
    if kinds:
        parts.append(f"<p>Body: {', '.join(f'<code>{_text(kind)}</code>' for kind in kinds)}.</p>")
    cells = []
    for code, answer in operation["responses"].items():
        content = ", ".join(f"<code>{_text(kind).replace('/', '/<wbr>')}</code>" for kind in answer.get("content", ()))
        cells.append(f"<tr><td>{_text(code)}</td><td>{_text(answer['description'])}</td><td>{content}</td></tr>")
    head = '<tr><th scope="col">code</th><th scope="col">meaning</th><th scope="col">type</th></tr>'
    parts.append(f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(cells)}</tbody></table></div>')
    return f"<section>{''.join(parts)}</section>"


def _types(schema: dict[str, Any]) -> str:
    parts = ["<section><h2>Types</h2>"]
    for name, one in sorted(schema["components"]["schemas"].items()):
        cells = []
        for key, value in one.get("properties", {}).items():
            more = ", ".join(map(str, value.get("enum", ())))
            words = f"{value.get('description', '')} {f'({more})' if more else ''}".strip()
            cells.append(f"<tr><td><code>{_text(key)}</code></td><td>{_text(words)}</td></tr>")
        head = '<tr><th scope="col">key</th><th scope="col">meaning</th></tr>'
        table = f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(cells)}</tbody></table></div>'
        parts.append(f"<h3>{_text(name)}</h3>{_paragraph(one.get('description'))}{table if cells else ''}")
    return "".join([*parts, "</section>"])


def _paragraph(text: str | None) -> str:
    return "<p>{}</p>".format(re.sub("`(.+?)`", r"<code>\1</code>", _text(text))) if text else ""


def _text(text: object) -> str:
    return html.escape(str(text))
