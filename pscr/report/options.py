"""The options of `pscr report`. The libraries that draw and write the page are imported where it runs, not here."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..runtime.scorer import DEFAULT_MODEL

EPILOG = """\
examples:
  pscr report outputs/ -o report.html                            one set of images
  pscr report flux/ sdxl/ -o report.html                         two generators, matched by file name
  pscr report outputs/ --by-folder --prompts prompts.csv -o report.html
  pscr report --scores scores.csv -o report.html                 what pscr score has scored already
"""


def add(report: argparse.ArgumentParser, positive: Callable[[str], int]) -> None:
    """Add them to the verb's parser; `positive` reads a whole number from 1."""

    def natural(text: str) -> int:
        return 0 if text == "0" else positive(text)

    report.description = (
        "One self-contained HTML page. Several folders or patterns are compared, one group each: means, and the "
        "probability that one beats the other, with confidence intervals."
    )
    report.add_argument("paths", metavar="PATH", nargs="*", help="files, folders or quoted patterns")
    report.add_argument("-o", "--output", metavar="FILE", required=True, help="the page ('-': standard output)")
    report.add_argument(
        "--scores", metavar="FILE", help="results of pscr score (csv, jsonl): these images are not scored again"
    )
    report.add_argument("--by-folder", action="store_true", help="each folder with images in it is a group")
    report.add_argument("--groups", metavar="CSV", help="each image's group, such as its generator")
    report.add_argument(
        "--prompts", metavar="CSV", help="each image's prompt: groups are matched, and intervals drawn, by prompt"
    )
    for name, what in (
        ("path", "images, or their bare file names"),
        ("group", "of --groups"),
        ("prompt", "of --prompts"),
    ):
        report.add_argument(f"--{name}-column", default=name, metavar="NAME", help=f"{what} (default: %(default)s)")
    report.add_argument(
        "--unpaired", action="store_true", help="files of different folders that are called alike share no prompt"
    )
    report.add_argument("--title", help="the page's heading")
    report.add_argument("--show", type=positive, metavar="N", default=8, help="best and worst (default: %(default)s)")
    report.add_argument("--no-maps", action="store_true", help="no quality maps of them")
    report.add_argument(
        "--thumbnails", type=natural, metavar="PIXELS", default=64, help="in the table; 0: no pictures (default: 64)"
    )
    report.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    report.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all cores)")
    report.add_argument("-q", "--quiet", action="store_true", help="errors only: no summary or progress")
