"""Names as text that a page and a plot can hold: hostile ones cannot steer either."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with what is not printed made visible: line ends, overrides of direction, bytes that are no UTF-8."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shorter(text: str, most: int) -> str:
    """The text on at most `most` characters, its middle left out where it is longer: both ends of a path tell."""
    text = visible(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"
