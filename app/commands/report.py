"""`pscr report`: its command line. The libraries that draw and write the page are imported after it was read."""

from __future__ import annotations

import argparse

from ..console import needing
from ..runtime.libraries import spare_home
from ..tables.formats import READABLE
from . import clip_options
from . import options as shared

DESCRIPTION = """\
One self-contained HTML page. Several folders or patterns are compared, one group each: means, and the probability that
one beats the other, with confidence intervals.
"""
EPILOG = """\
examples:
  pscr report outputs/ -o report.html                            one set of images
  pscr report flux/ sdxl/ -o report.html                         two generators, matched by file name
  pscr report outputs/ --by-folder --prompts prompts.csv -o report.html
  pscr report clip.mp4 --every 0.5 -o report.html                a curve of a video's scores, and a strip of its frames
  pscr report --scores scores.csv -o report.html                 what pscr score has scored already
"""


def add(verbs: shared.Verbs) -> None:
    report = shared.add_verb(
        verbs,
        "report",
        "write one HTML page on many images, and compare generators (needs pscr[report])",
        run,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    report.add_argument("paths", metavar="PATH", nargs="*", help="files, folders or quoted patterns")
    report.add_argument("-o", "--output", metavar="FILE", required=True, help="the page ('-': standard output)")
    report.add_argument(
        "--scores",
        metavar="FILE",
        help=f"results of pscr score ({READABLE}): these images are not scored again",
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
    report.add_argument(
        "--show", type=shared.positive, metavar="N", default=8, help="best and worst (default: %(default)s)"
    )
    report.add_argument("--no-maps", action="store_true", help="no quality maps of them")
    shared.diagnose(report, "say of the worst images what they look like, such as blur, and to which degree")
    report.add_argument(
        "--thumbnails",
        type=shared.natural,
        metavar="PIXELS",
        default=64,
        help="in the table; 0: no pictures (default: 64)",
    )
    clip_options.add(report, per_frame=False)
    shared.model(report)
    shared.device(report)
    shared.bank(report)
    shared.threads(report)
    shared.max_pixels(report)
    shared.quiet(report, "errors only: no summary or progress")


def run(options: argparse.Namespace) -> int:
    """Write the report; returns 0, or 1 where an image has no score.

    Raises:
        UsageError: as `engine.run`.
        PscrError: likewise, and where the extra `report` is not installed.
    """
    spare_home()
    with needing("report", "'pscr report'"):
        from ..report import engine  # not before: --help needs none of it

        return engine.run(options, clip_options.clips(options))
