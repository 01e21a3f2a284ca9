"""AVT-AI: as published, with ratings in several folders, and as a folder with labels.csv."""

import pytest

from pscr import PscrError, Status
from pscr.training import databases

KEYS = ("craiyon/p01", "craiyon/p02", "glide/p01", "own/p17")


@pytest.fixture
def folder(tmp_path):
    """The published layout with four images: two generators, and a photograph."""
    for key in KEYS:
        file = tmp_path / "images" / f"{key}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    prompts = 'ID,prompts,category\np01,A red car,Drawbench\np02,"A cat, a dog",own\np17,Windows,own\n'
    (tmp_path / "images" / "prompts.csv").write_text(prompts)
    for part in ("quality_evaluation", "evaluation"):
        (tmp_path / part).mkdir()
    for label, first in (("quality", 1), ("appeal", 2)):
        rows = [f"{key},{first + place / 4},0.9,{key[-3:]}" for place, key in enumerate(KEYS)]
        text = "\n".join(["image_key,rating,std,prompt", *rows])
        (tmp_path / "quality_evaluation" / f"{label}.csv").write_text(text)
    rows = [f"{key},{key.split('/')[0]},9,9,{3 + place / 4},9" for place, key in enumerate(KEYS)]
    header = "image_key,db,appeal_mean,appeal_std,realism_mean,prompt_matching_mean"
    (tmp_path / "evaluation" / "all_ratings.csv").write_text("\n".join([header, *rows]))
    return tmp_path


@pytest.mark.parametrize(("label", "first"), [("quality", 1), ("appeal", 2), ("realism", 3)])
def test_each_published_rating_is_a_label_and_the_photographs_are_left_out_and_counted(folder, label, first):
    database = databases.load(f"avt_ai:{folder}", label=label)
    assert [item.score for item in database.items] == [first, first + 0.25, first + 0.5]
    assert [item.name for item in database.items] == ["craiyon/p01.png", "craiyon/p02.png", "glide/p01.png"]
    assert (database.name, database.label, database.scale) == ("AVT-AI", label, (1, 5))
    assert database.meaning == f"mean opinion score of {label}"
    assert "1 photographs are left out" in database.notes[0]


def test_images_are_grouped_by_generator_and_by_prompt(folder):
    items = databases.load(f"avt_ai:{folder}").items
    assert [item.groups["generator"] for item in items] == ["craiyon", "craiyon", "glide"]
    assert [item.group for item in items] == ["A red car", "A cat, a dog", "A red car"]


def test_the_folder_that_the_ratings_had_before_is_found_too(folder):
    (folder / "quality_evaluation").rename(folder / "evaluation_quality_appeal")
    assert len(databases.load(f"avt_ai:{folder}").items) == 3


def test_a_folder_with_a_table_is_read_too(folder):
    header = "path,quality,appeal,realism,generator,prompt,width,height"
    (folder / "labels.csv").write_text(f"{header}\nimages/craiyon/p01.png,2,3,4,craiyon,A red car,1024,1024\n")
    for label, score in (("quality", 2), ("appeal", 3), ("realism", 4)):
        (item,) = databases.load(f"avt_ai:{folder}", label=label).items
        assert (item.score, item.group, item.groups["generator"]) == (score, "A red car", "craiyon")


def test_a_missing_image_or_prompt_or_file_is_named(folder):
    (folder / "images" / "glide" / "p01.png").unlink()
    with pytest.raises(PscrError, match=r"quality\.csv: row 4: no image .*p01\.png") as caught:
        databases.load(f"avt_ai:{folder}")
    assert caught.value.status is Status.FILE_NOT_FOUND
    (folder / "images" / "prompts.csv").write_text("ID,prompts\np01,A red car\n")
    with pytest.raises(PscrError, match="row 3: the prompt is empty"):
        databases.load(f"avt_ai:{folder}")
    (folder / "quality_evaluation" / "quality.csv").unlink()
    with pytest.raises(PscrError, match=r"quality_evaluation/quality\.csv: no such label file"):
        databases.load(f"avt_ai:{folder}")


def test_the_table_of_another_database_is_refused(folder):
    (folder / "labels.csv").write_text("path,score,std,original_name\nimages/1.jpg,80,1,1.bmp\n")
    with pytest.raises(PscrError, match="has no column 'quality'; it has path, score, std, original_name"):
        databases.load(f"avt_ai:{folder}")
