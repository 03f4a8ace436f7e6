"""A plain Molmo2 without weights, as the folder that vLLM asks for: it makes random weights itself."""

from __future__ import annotations

from pathlib import Path

from stts_export.checkpoint.layouts import HUGGING_FACE
from stts_export.checkpoint.write import files_beside, json_bytes
from stts_export.molmo2.config_json import config_json
from stts_export.molmo2.marks import mark_ids
from stts_runtime.bundle.publish import published
from stts_tools.checkpoints.byte_tokenizer import byte_level_tokenizer
from stts_tools.checkpoints.sizes import POOL, model_config, size_named

_PICTURES = {"processor_class": "Molmo2Processor", "image_processor_type": "Molmo2ImageProcessor"}
_FURTHER_MARKS = {"<im_col>": "image_col_id", "<im_low>": "image_low_res_id"}
"""Special tokens of pictures; vLLM reads their ids for videos, too."""


def write_folder(out: Path, size: str, dtype: str) -> None:
    """Config, tokenizer and processor settings of `size`: some MB, nearly all of it the vocabulary."""
    dimensions = size_named(size)
    tokenizer = byte_level_tokenizer(dimensions.vocab)
    config = config_json(model_config(dimensions, tokenizer, None), mark_ids(tokenizer), dtype, "original")
    config |= {key: tokenizer.token_to_id(mark) for mark, key in _FURTHER_MARKS.items()}
    files = {
        **files_beside(tokenizer, POOL),
        HUGGING_FACE: json_bytes(config),
        "preprocessor_config.json": json_bytes(_PICTURES),
    }
    with published(out, None) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
