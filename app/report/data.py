"""What a report is made from: every image with its result, its group and its prompt."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..runtime.scorer import Result
from ..tables.inputs import Item, expand
from .film_strip import FilmStrip
from .labels import Labels


@dataclass(frozen=True)
class Named:
    """One input with what is known of it before it is looked at.

    group: the generator it is counted with, or nothing. key: its place below its folder without its ending, by which
    images of different folders are matched.
    """

    item: Item
    group: str = ""
    prompt: str = ""
    key: str = ""


@dataclass(frozen=True)
class Image:
    """One image of the report, or one clip.

    unit: what is drawn with it in the bootstrap: its prompt, else the image itself.
    digest: of its decoded pixels, or nothing. thumbnail: a WebP file, or nothing. is_clip: whether it is one;
    strip: what is shown of a clip that was scored now.
    """

    result: Result
    group: str
    prompt: str
    unit: str
    digest: str = ""
    thumbnail: bytes = b""
    is_clip: bool = False
    strip: FilmStrip | None = None


@dataclass(frozen=True)
class Matching:
    """How images of different groups were matched. by: prompt | name | nothing. units: how many different ones."""

    by: str
    units: int = 0
    without: int = 0


def gather(paths: Sequence[str], left_out: Counter[str] | None = None, besides: Collection[str] = ()) -> list[Named]:
    """The images that the command line's paths stand for; each folder or pattern is a group where all are such.

    Files that are named one by one, as a shell's own pattern names them, make no groups. left_out, besides: as in
    `expand`.
    """
    expanded = [expand([path], left_out, besides) for path in paths]
    several = len(paths) > 1 and not any(
        _names_itself(path, items) for path, items in zip(paths, expanded, strict=True)
    )
    names = _distinct(paths) if several else [""] * len(paths)
    return [
        Named(item, name, key=_key(item.path, path) if several else "")
        for path, name, items in zip(paths, names, expanded, strict=True)
        for item in items
    ]


def by_folder(images: Sequence[Named]) -> list[Named]:
    """The same images, each in a group that is named after the folder it lies in."""
    folders = [str(Path(image.item.path).parent) for image in images]
    there = list(dict.fromkeys(folders))
    names = dict(zip(there, _distinct(there), strict=True))
    return [
        replace(image, group="" if image.item.problem else names[folder], key=_key(image.item.path, folder))
        for image, folder in zip(images, folders, strict=True)
    ]


def labelled(images: Sequence[Named], groups: Labels | None, prompts: Labels | None) -> list[Named]:
    """The same images with the groups and prompts that csv files give them; where a file is given, it alone counts."""
    return [
        replace(
            image,
            group=groups.of(image.item.path) if groups else image.group,
            prompt=prompts.of(image.item.path) if prompts else image.prompt,
        )
        for image in images
    ]


def match(images: Sequence[Named], by_name: bool) -> tuple[list[str], Matching]:
    """What each image is drawn with, and how that was found: its prompt, else its name in its folder, else itself.

    by_name: whether images of different groups that are called alike belong together. Names count only where no prompt
    is known and at least two groups share one.
    """
    if any(image.prompt for image in images):
        without = sum(not image.prompt for image in images)
        units = [f"prompt {image.prompt}" if image.prompt else f"image {n}" for n, image in enumerate(images)]
        return units, Matching("prompt", len({image.prompt for image in images if image.prompt}), without)
    if by_name:
        holders: dict[str, set[str]] = defaultdict(set)
        for image in images:
            if image.key and image.group:
                holders[image.key].add(image.group)
        shared = {key for key, groups in holders.items() if len(groups) > 1}
        if shared:
            units = [f"name {image.key}" if image.key in shared else f"image {n}" for n, image in enumerate(images)]
            return units, Matching("name", len(shared), sum(image.key not in shared for image in images))
    return [f"image {n}" for n in range(len(images))], Matching("nothing")


def identical(images: Sequence[Image]) -> list[list[Image]]:
    """The sets of two images or more whose decoded pixels are the same, the largest first."""
    sets: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        if image.digest:
            sets[image.digest].append(image)
    return sorted((alike for alike in sets.values() if len(alike) > 1), key=lambda alike: -len(alike))


def _names_itself(path: str, items: list[Item]) -> bool:
    """Whether a path is a file, or nothing that is there: not a folder and not a pattern."""
    return len(items) == 1 and items[0].path == path and not items[0].problem


def _distinct(paths: Sequence[str]) -> list[str]:
    """A name for each path: its last part, with as many parts before it as it takes to tell them apart."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]  # noqa: PTH100  "." and ".." need a name
    names: list[str] = []
    for path, own in zip(paths, parts, strict=True):
        ends = (own[-length:] for length in range(1, len(own) + 1))
        alone = (end for end in ends if sum(other[-len(end) :] == end for other in parts) == 1)
        names.append("/".join(next(alone, (path,))))
    return names


def _key(path: str, folder: str) -> str:
    """A file's place below a folder without its ending; its name alone where it lies elsewhere."""
    file = Path(path).with_suffix("")
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else file.name
