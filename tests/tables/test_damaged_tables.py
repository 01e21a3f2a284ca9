"""Whatever is changed in a table, a shard or a tagged image: rows that say so, or one line, and nothing else."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from cli_testing import write_image
from table_makers import IMAGE, held, write_arrow, write_parquet, write_shard

from pscr.console import UsageError
from pscr.runtime.errors import PscrError
from pscr.runtime.image_tags import tagged
from pscr.tables.table_inputs import Wanted, inputs_of

pa = pytest.importorskip("pyarrow")
MUTANTS = 150
EDGES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """One to six bytes, lengths or pieces of a file changed, mostly at its ends, where its structure is."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        ends = min(len(changed), 900)
        place = chance.choice([chance.randrange(len(changed)), chance.randrange(ends), len(changed) - ends])
        match chance.randrange(3):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                changed[place : place + chance.randint(1, 8)] = bytes(chance.randint(0, 8))
            case 2:
                changed[place : place + 4] = chance.choice(EDGES).to_bytes(4, "little")
    return bytes(changed)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "files" / f"{seed}.png", seed, 16) for seed in range(6)]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.tar", "a.tgz"])
def test_a_damaged_table_is_rows_or_one_line(tmp_path: Path, files: list[Path], name: str) -> None:
    path = tmp_path / name
    if name in ("a.parquet", "a.arrow"):
        texts, lists = ["a", "bb", None, "c", "d", "e"], [["a"], [], None, ["b"], [], []]
        write = write_parquet if name == "a.parquet" else write_arrow
        write(path, {"image": pa.array(held(files), IMAGE), "n": list(range(6)), "s": texts, "l": lists})
        wanted = Wanted(metadata=True)
    else:
        write_shard(path, files, "w:gz" if name == "a.tgz" else "w")
        wanted = Wanted(columns=("caption", "txt"), metadata=True)
    data = path.read_bytes()
    refused = rows = 0
    for seed in range(MUTANTS):
        path.write_bytes(damaged(data, random.Random(seed)))
        try:
            rows += sum(1 for _ in inputs_of([str(path)], False, wanted).items)
        except UsageError:
            refused += 1
    assert refused < MUTANTS
    assert rows > 0


def test_names_that_are_no_text_are_one_line(tmp_path: Path, files: list[Path]) -> None:
    path = write_arrow(tmp_path / "a.arrow", {"image": pa.array(held(files), IMAGE), "caption": ["x"] * 6})
    path.write_bytes(path.read_bytes().replace(b"caption", b"capti\xff\xfe"))
    with pytest.raises(UsageError, match="cannot be read as Arrow"):
        inputs_of([str(path)], False, Wanted())


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_damaged_image_is_tagged_or_refused(tmp_path: Path, ending: str) -> None:
    data = tagged(write_image(tmp_path / f"a{ending}").read_bytes(), 1.0, 1).data
    for seed in range(MUTANTS):
        with contextlib.suppress(PscrError):
            tagged(damaged(data, random.Random(seed)), 2.0, 3)
