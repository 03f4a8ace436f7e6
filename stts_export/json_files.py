"""The small JSON files next to the weights, validated: a wrong type or value is named with its file and field."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stts_export.errors import CheckpointError
from stts_runtime.handed_over import check_is_content, text_of
from stts_runtime.places import check_file, unusable
from stts_runtime.settings import first_problem


class Section(BaseModel):
    """Part of a file that others wrote: fields that this product does not use are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=Section)


def read_json(path: Path, model: type[Model]) -> Model:
    """Raises `CheckpointError` if the file cannot be read, is not JSON, or does not hold what `model` asks for."""
    check_file(path, CheckpointError)
    check_is_content(path, CheckpointError)
    try:
        return model.model_validate_json(text_of(path.read_bytes(), path, CheckpointError))
    except ValidationError as error:
        raise CheckpointError(f"{path}: {first_problem(error)}") from None
    except OSError as error:
        raise CheckpointError(unusable(path, error)) from None


def read_optional_json(path: Path, model: type[Model]) -> Model:
    """The same, with the model's defaults where there is no such file."""
    return read_json(path, model) if path.exists() else model()
