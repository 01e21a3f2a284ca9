"""The version has one owner, `pscr.__version__`; what cannot ask for it says the same."""

import re
from pathlib import Path

import pscr

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version():
    said = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert said is not None
    assert said[1] == pscr.__version__


def test_the_changelog_begins_with_what_is_to_come_and_goes_no_further_than_this_version():
    first, *versions = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert first == "Unreleased"
    current, *others = ([int(part) for part in version.split(".")] for version in (pscr.__version__, *versions))
    assert others == sorted(others, reverse=True)
    assert others[0] <= current
