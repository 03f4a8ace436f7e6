"""Points of answers as COCO keypoints."""

from __future__ import annotations

import json
from pathlib import Path

from stts_runtime.coco import CocoKeypoints
from tests.support.answers import answer_of


def _coco(*answers: tuple[str, str, str]) -> CocoKeypoints:
    coco = CocoKeypoints()
    for text, source, question in answers:
        coco.add(answer_of(text, source, question))
    return coco


def test_points_are_pixels_of_the_source() -> None:
    content = _coco(('<points coords="1.0 1 250 500">dog</points>', "a.mp4", "Where?")).content()
    (annotation,) = content["annotations"]
    assert annotation["keypoints"] == [160.0, 240.0, 2]
    assert annotation["num_keypoints"] == 1
    image = next(one for one in content["images"] if one["id"] == annotation["image_id"])
    assert (image["file_name"], image["width"], image["height"]) == ("a.mp4#t=1", 640, 480)
    assert (image["video"], image["frame"], image["seconds"]) == ("a.mp4", 1, 1.0)


def test_frames_are_images_once_however_many_questions_were_asked() -> None:
    dogs = '<tracks coords="0.0 1 100 100;2.0 1 200 200 2 900 900">dog</tracks>'
    coco = _coco((dogs, "a.mp4", "Track the dogs."), ("yes", "a.mp4", "Is it day?"), (dogs, "b.mp4", "Track the dogs."))
    content = coco.content()
    assert [one["file_name"] for one in content["images"]] == [
        *("a.mp4#t=0", "a.mp4#t=1", "a.mp4#t=2"),
        *("b.mp4#t=0", "b.mp4#t=1", "b.mp4#t=2"),
    ]
    assert [one["image_id"] for one in content["annotations"]] == [1, 3, 3, 4, 6, 6]
    assert [one["track_id"] for one in content["annotations"]] == [1, 1, 2, 1, 1, 2]
    assert [one["id"] for one in content["annotations"]] == [1, 2, 3, 4, 5, 6]


def test_categories_are_labels() -> None:
    text = '<points coords="1.0 1 250 500">dog</points> <points coords="1.0 1 250 500 2 300 500">cat</points>'
    content = _coco((text, "a.mp4", "Where?")).content()
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(1, "dog"), (2, "cat")]
    assert [one["category_id"] for one in content["annotations"]] == [1, 2, 2]
    assert all(one["keypoints"] == ["point"] for one in content["categories"])


def test_a_file_holds_the_same(tmp_path: Path) -> None:
    coco = _coco(('<points coords="1.0 1 250 500">Köter</points>', "a.mp4", "Where?"))
    coco.write(tmp_path / "points.json")
    assert json.loads((tmp_path / "points.json").read_text("utf-8")) == coco.content()
