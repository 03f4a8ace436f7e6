"""Points and tracks of answers about clips as COCO keypoints, in pixels of the source's frames.

Every frame that was looked at is an image, and every point an annotation of one visible keypoint; COCO has no place for
a track, which is one field more: `track_id`. Source of the format: cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stts_runtime.outputs import written_whole
from stts_runtime.point_records import PointRecord
from stts_runtime.records import Answer

SUFFIX = ".json"
_VISIBLE = 2
_NAMELESS = "point"


class CocoKeypoints:
    """Collects answers without keeping their frames."""

    def __init__(self) -> None:
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._first_image: dict[tuple[str, str], int] = {}
        """The number of a look's first frame, by source and variant."""
        self._categories: dict[str, int] = {}

    def add(self, answer: Answer) -> None:
        """With the frames that it is about, unless an earlier answer brought them."""
        looked = answer.source, answer.variant
        if looked not in self._first_image:
            self._first_image[looked] = len(self._images) + 1
            self._add_images(answer)
        for point in answer.points:
            self._annotate(point, self._first_image[looked] + point.frame, answer.question)

    def write(self, path: Path) -> None:
        """Raises `UserError` if it cannot be written."""
        with written_whole(path) as scratch:
            scratch.write_text(json.dumps(self.content(), ensure_ascii=False) + "\n", "utf-8")

    def content(self) -> dict[str, Any]:
        categories = [
            {"id": number, "name": name, "supercategory": "", "keypoints": ["point"], "skeleton": []}
            for name, number in self._categories.items()
        ]
        info = {"description": "Points in answers about videos, one keypoint each"}
        return {"info": info, "images": self._images, "annotations": self._annotations, "categories": categories}

    def _add_images(self, answer: Answer) -> None:
        width, height = answer.seen.size
        for frame, seconds in enumerate(answer.window.times_seconds):
            self._images.append(
                {
                    "id": len(self._images) + 1,
                    "file_name": f"{answer.source}#t={seconds:g}",
                    "width": width,
                    "height": height,
                    "video": answer.source,
                    "frame": frame,
                    "seconds": seconds,
                }
            )

    def _annotate(self, point: PointRecord, image: int, question: str) -> None:
        width, height = (self._images[image - 1][side] for side in ("width", "height"))
        x, y = round(point.x * width, 2), round(point.y * height, 2)
        label = point.label or _NAMELESS
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": image,
                "category_id": self._categories.setdefault(label, len(self._categories) + 1),
                "keypoints": [x, y, _VISIBLE],
                "num_keypoints": 1,
                # A point has no size, and readers want a box all the same.
                "bbox": [x, y, 0, 0],
                "area": 0,
                "iscrowd": 0,
                "track_id": point.track,
                "question": question,
            }
        )
