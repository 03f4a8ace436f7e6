"""The file `config.yaml` of the original training layout, read into `TrainingConfig`.

Older runs' settings are moved to where newer ones have them (`flat_settings`), keys that are not read are looked at
(`unread_keys`), and models that only look like Molmo2 are told (`image_tokens`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stts_export.errors import CheckpointError
from stts_export.json_files import Section
from stts_export.molmo2.flat_settings import with_video_section
from stts_export.molmo2.hf_config import SttsSection
from stts_export.molmo2.image_tokens import ImageTokens
from stts_export.molmo2.training_config import (
    BackboneSection,
    LlmSection,
    PreprocessorSection,
    TrainingConfig,
    VideoSection,
    VitSection,
)
from stts_export.molmo2.unread_keys import BACKBONE, LLM, PREPROCESSOR, VIDEO, VIT, refuse_unread
from stts_runtime.handed_over import check_is_content
from stts_runtime.places import check_file
from stts_runtime.settings import first_problem


def read_training_config(path: Path) -> TrainingConfig:
    """A run's configuration, or the model's section of it alone.

    Raises `CheckpointError` if the file is not YAML with plain values, or lacks what is needed.
    """
    check_file(path, CheckpointError)
    check_is_content(path, CheckpointError)
    try:
        content = yaml.safe_load(path.read_bytes())
        if isinstance(content, dict):
            content = {"model": _migrated(content.get("model", content))}
        config = TrainingConfig.model_validate(content)
        for section, given, read in _sections(content["model"]):
            refuse_unread(section, given, read)
        return config
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not YAML with plain values: {reason}") from None
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_problem(error)}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not YAML with plain values: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _migrated(model: Any) -> Any:
    """The model's section as newer runs have it.

    Raises `CheckpointError` for another model, or for settings that cannot be moved.
    """
    preprocessor = model.get(PREPROCESSOR) if isinstance(model, dict) else None
    if not isinstance(preprocessor, dict):
        return model
    # Models of pictures alone have their settings where older runs have those of videos.
    pictures = preprocessor.get("image", preprocessor)
    if isinstance(pictures, dict):
        ImageTokens.model_validate(pictures).check(f"config.yaml: model.{PREPROCESSOR}")
    return {**model, PREPROCESSOR: with_video_section(preprocessor)}


def _sections(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], set[str]]]:
    """Sections that are known in full, with what is read of them."""
    sections: list[tuple[str, type[Section], set[str]]] = [
        (LLM, LlmSection, set()),
        (BACKBONE, BackboneSection, set()),
        (VIT, VitSection, set(SttsSection.model_fields)),
        (PREPROCESSOR, PreprocessorSection, set()),
        (VIDEO, VideoSection, set()),
    ]
    for name, section, more in sections:
        outer, _, inner = name.partition(".")
        given = model.get(outer, {})
        yield name, given.get(inner, {}) if inner else given, {*section.model_fields, *more}
