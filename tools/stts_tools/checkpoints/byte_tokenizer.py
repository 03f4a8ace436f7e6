"""The tokenizer of the small checkpoints: bytes, merges of them if there are any, and Molmo2's marks."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

# Marks in the order of Molmo2's extra vocabulary; `<im_patch>` is the third of them, `<frame_start>` the eighth.
EXTRA_TOKENS = (
    "<im_start>", "<im_end>", "<im_patch>", "<im_col>", "<low_res_im_start>", "<|image|>", "<im_low>",
    "<frame_start>", "<frame_end>", "<|video|>",
)  # fmt: skip
TEXT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def byte_level_tokenizer(base: int | None = None, merges: Sequence[tuple[str, str]] = ()) -> Tokenizer:
    """256 bytes, merges of them, the chat marks, and Molmo2's marks after the base vocabulary.

    `base` is the size of that vocabulary, filled up with tokens that no text makes; None: as small as it gets.
    """
    meant = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges), *TEXT_TOKENS]
    fillers = [f"<|unused_{number}|>" for number in range(len(meant), base or 0)]
    tokens = (*meant, *fillers, *EXTRA_TOKENS)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in TEXT_TOKENS + EXTRA_TOKENS])
    return made


def base_vocabulary(tokenizer: Tokenizer) -> int:
    """Entries of the logits: everything but Molmo2's marks, which only ever come in."""
    return int(tokenizer.get_vocab_size()) - len(EXTRA_TOKENS)
