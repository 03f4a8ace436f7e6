"""`config.yaml` of the released runs, in both forms: what is moved, what is passed over, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stts_export.errors import CheckpointError
from stts_export.molmo2.processor import read_processor
from stts_export.molmo2.training_config import TrainingConfig
from stts_export.molmo2.training_file import read_training_config
from tests.support.training_layout import training_config

MARKS = {"image_patch_id": 261}


@pytest.fixture(scope="module")
def config_json(micro_checkpoint: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((micro_checkpoint / "config.json").read_text())
    return content


@pytest.fixture(params=["newer", "flat"])
def run(request: pytest.FixtureRequest, config_json: dict[str, Any]) -> dict[str, Any]:
    """A run's whole configuration, which may be changed."""
    return deepcopy(training_config(config_json, flat=request.param == "flat"))


@pytest.fixture
def flat(config_json: dict[str, Any]) -> dict[str, Any]:
    return deepcopy(training_config(config_json, flat=True))


@pytest.fixture
def newer(config_json: dict[str, Any]) -> dict[str, Any]:
    return deepcopy(training_config(config_json))


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Any], TrainingConfig]:
    def write_and_read(content: Any) -> TrainingConfig:
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return read_training_config(tmp_path / "config.yaml")

    return write_and_read


Read = Callable[[Any], TrainingConfig]


def test_both_forms_say_the_same(flat: dict[str, Any], newer: dict[str, Any], read: Read) -> None:
    older = read(flat)
    assert older.as_config_json(MARKS) == read(newer).as_config_json(MARKS)
    assert older.as_config_json(MARKS)["stts"]["topk"] == 0.5
    assert older.as_video_processor() == read(newer).as_video_processor()


@pytest.mark.parametrize(
    ("key", "value", "moved"),
    [("max_fps", [1.0], ("max_fps", 1.0)), ("max_frames", 16, ("num_frames", 16)),
     ("pooling_h", 2, ("pooling_size", (2, 3)))],
)  # fmt: skip
def test_a_flat_setting_is_not_left_to_a_default(
    flat: dict[str, Any], read: Read, key: str, value: object, moved: tuple[str, object]
) -> None:
    flat["model"]["mm_preprocessor"][key] = value
    assert moved in read(flat).as_video_processor().items()
    del flat["model"]["mm_preprocessor"][key]
    with pytest.raises(CheckpointError, match=f"neither a `video` section nor, as older runs do, {key}$"):
        read(flat)


@pytest.mark.parametrize(
    ("key", "value"),
    [("time_mode", "per-frame"), ("use_frame_special_tokens", False), ("frame_sample_mode", "fps")],
)
def test_a_flat_setting_that_is_not_supported_is_refused_as_a_newer_one_is(
    flat: dict[str, Any], newer: dict[str, Any], read: Read, key: str, value: object
) -> None:
    flat["model"]["mm_preprocessor"][key] = value
    newer["model"]["mm_preprocessor"]["video"][key] = value
    said = []
    for content in (flat, newer):
        with pytest.raises(CheckpointError, match=rf"video\.{key} is {value!r}; only .* is supported") as caught:
            read(content).as_config_json(MARKS)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_marks_are_around_every_frame_whatever_an_older_run_says(flat: dict[str, Any], read: Read) -> None:
    flat["model"]["mm_preprocessor"]["per_frame_special_token"] = False
    read(flat).as_config_json(MARKS)


@pytest.mark.parametrize(
    ("key", "value"),
    [("max_crops", 6), ("periodic_high_res_frame", 4), ("image_padding_mask", 2), ("prune_from_frame", 8),
     ("query_based_resolution_selection", True), ("use_col_tokens", True), ("skip_low_res_in_high_low", True),
     ("high_res_frame_sample_options", [16, 4])],
)  # fmt: skip
def test_older_ways_of_making_frames_are_refused(flat: dict[str, Any], read: Read, key: str, value: object) -> None:
    flat["model"]["mm_preprocessor"][key] = value
    with pytest.raises(CheckpointError, match=rf"model\.mm_preprocessor\.{key} is {value!r}".replace("[", r"\[")):
        read(flat)


def test_prompt_and_tower_must_drop_the_same_share(flat: dict[str, Any], read: Read) -> None:
    flat["model"]["mm_preprocessor"]["topk"] = 0.3
    with pytest.raises(CheckpointError, match=r"mm_preprocessor\.topk is 0\.3 and .*vit\.topk is 0\.5; they must be"):
        read(flat).as_config_json(MARKS)
    flat["model"]["mm_preprocessor"]["topk"] = None
    read(flat).as_config_json(MARKS)


SOMETHING: tuple[Any, ...] = (True, 0, 1, "on", [], {"a": 1})
KNOWN = ("llm", "vision_backbone", "vision_backbone.vit", "mm_preprocessor")


def section(content: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = content["model"]
    for part in name.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_a_key_that_is_not_known_is_refused_unless_it_asks_for_nothing(
    run: dict[str, Any], read: Read, name: str
) -> None:
    for nothing in (None, False):
        section(run, name)["gated_attention"] = nothing
        read(run)
    for something in SOMETHING:
        section(run, name)["gated_attention"] = something
        with pytest.raises(
            CheckpointError,
            match=rf"model\.{name}\.gated_attention is .*, which is not known here.*; only null and false",
        ):
            read(run)


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("llm", "block_type", "moe", "null, false and 'sequential' are passed over"),
        ("llm", "can_predict_extra_tokens", True, "only null and false"),
        ("llm", "moe_num_experts", 64, "null, false and 8"),
        ("vision_backbone", "use_deepstack", True, "only null and false"),
        ("vision_backbone", "image_projector", "linear", "null, false and 'mlp'"),
        ("vision_backbone", "image_padding_embed", "pad_embed", "only null and false"),
        ("vision_backbone.vit", "image_pos_patch_size", 16, "null, false and 14"),
        ("vision_backbone.vit", "pad_value", 1, "null, false and 0"),
    ],
)
def test_what_differs_from_the_public_default_is_refused_with_it(
    run: dict[str, Any], read: Read, name: str, key: str, value: object, words: str
) -> None:
    section(run, name)[key] = value
    with pytest.raises(CheckpointError, match=rf"model\.{name}\.{key} is {value!r}.*{words}"):
        read(run)


def test_a_key_of_the_videos_is_looked_at_too(newer: dict[str, Any], read: Read) -> None:
    newer["model"]["mm_preprocessor"]["video"]["frame_order"] = "reversed"
    with pytest.raises(CheckpointError, match=r"mm_preprocessor\.video\.frame_order is 'reversed'"):
        read(newer)
    del newer["model"]["mm_preprocessor"]["video"]["frame_order"]
    newer["model"]["mm_preprocessor"]["video"]["max_fps"] = None
    with pytest.raises(CheckpointError, match=r"video\.max_fps is \[None\]; only one rate"):
        read(newer).as_video_processor()


def test_keys_elsewhere_and_those_of_training_are_passed_over(run: dict[str, Any], read: Read) -> None:
    expected = read(run).as_config_json(MARKS)
    run["optimizer"] = {"name": "adamw"}
    run["model"] |= {"model_name": "another", "new_here": 5}
    run["model"]["data_formatter"]["new_here"] = 5
    run["model"]["llm"] |= {"residual_dropout": 0.3, "init_path": "elsewhere.pt", "compile": None, "mm_rope": True}
    run["model"]["vision_backbone"]["compile_vit"] = "whole"
    assert read(run).as_config_json(MARKS) == expected


@pytest.mark.parametrize(
    ("key", "value"), [("use_single_crop_start_token", False), ("use_single_crop_col_tokens", True)]
)
def test_a_model_with_other_image_tokens_is_not_taken_for_molmo2(
    run: dict[str, Any], read: Read, micro_checkpoint: Path, tmp_path: Path, key: str, value: bool
) -> None:
    words = f"{key} is {str(value).lower()}: this is not Molmo2 but a model with other image tokens, such as MolmoWeb"
    run["model"]["mm_preprocessor"]["image"][key] = value
    with pytest.raises(CheckpointError, match=rf"^config\.yaml: model\.mm_preprocessor: {words}"):
        read(run)
    # One for pictures alone has their settings where older runs have those of videos.
    run["model"]["mm_preprocessor"] = run["model"]["mm_preprocessor"]["image"]
    with pytest.raises(CheckpointError, match=words):
        read(run)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Molmo2Processor", key: value}))
    (tmp_path / "video_preprocessor_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=rf"processor_config\.json: {words}"):
        read_processor(tmp_path)
    (tmp_path / "processor_config.json").write_text(json.dumps({key: not value}))
    assert read_processor(tmp_path).pool == 3
