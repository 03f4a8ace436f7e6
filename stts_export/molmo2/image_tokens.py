"""Models that are called Molmo2 and are not: they are told by the tokens that they put around a picture.

MolmoWeb says `Molmo2ForConditionalGeneration` in its `config.json` and has its shapes and weight names, but begins a
picture with another token, ends its rows with one, and attends over it causally (vllm-project/vllm#42162, #42163).
"""

from __future__ import annotations

from stts_export.errors import CheckpointError
from stts_export.json_files import Section


class ImageTokens(Section):
    """What is read of settings of pictures; None where they do not say."""

    use_single_crop_start_token: bool | None = None
    use_single_crop_col_tokens: bool | None = None

    def check(self, place: str) -> None:
        """Raises `CheckpointError` if they are not those of Molmo2; `place` says where they stand."""
        for name, wanted in (("use_single_crop_start_token", True), ("use_single_crop_col_tokens", False)):
            got = getattr(self, name)
            if got not in (None, wanted):
                raise CheckpointError(
                    f"{place}: {name} is {str(got).lower()}: this is not Molmo2 but a model with other image tokens, "
                    "such as MolmoWeb, which attends to them in another way; it would answer wrongly"
                )
