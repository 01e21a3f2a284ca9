"""Score images with the flat API, as a program without exceptions would: every call's status is looked at.

    python examples/c_style.py IMAGE...

Prints `score spread path` for each image; exit code 0 where all were scored, 1 where some were not, 3 where the model
could not be opened.
"""

import array
import sys

from pscr.runtime import capi

MODEL = "agiqa3k-lite0"


def main(paths: list[str]) -> int:
    """Open, score, close."""
    handle = array.array("q", [0])  # int64: filled by pscr_open
    score = array.array("d", [0.0, 0.0])  # score and spread: filled by pscr_score_file

    status = capi.pscr_open(MODEL, "cpu", 0, handle)
    if status != capi.Status.OK:
        print(f"{capi.pscr_strerror(status)}: {capi.pscr_last_error(0)}", file=sys.stderr)
        return 3

    failed = 0
    for path in paths:
        status = capi.pscr_score_file(handle[0], path, score)
        if status == capi.Status.OK:
            print(f"{score[0]:.3f} {score[1]:.3f} {path}")
        else:
            print(f"{capi.pscr_strerror(status)}: {capi.pscr_last_error(handle[0])}", file=sys.stderr)
            failed += 1

    capi.pscr_close(handle[0])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
