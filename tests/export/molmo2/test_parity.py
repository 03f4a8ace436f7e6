"""`keep = 1` is Molmo2 itself: same logits and greedy text as transformers' own model on the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import Molmo2ForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.molmo2.processing_molmo2 import Molmo2Processor

from stts_export.building import BuildRequest, build_bundle
from stts_export.building.plan import plan_bundle
from stts_export.checkpoint import open_checkpoint
from stts_runtime.answering import Turn, fill, generate
from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Positions
from stts_runtime.engines import load_language, load_vision
from stts_runtime.prompt import PromptBuilder
from stts_runtime.session import Session
from stts_runtime.video import Window

TIMES = [0.0, 0.5, 1.0]
QUESTIONS = ["What happens?", "Is the door\nstill open?", "¿Qué pasa? 東京"]
GENERATED = 12
LOGIT_ERROR = 1e-3

# transformers notes on import that torchvision is missing, and on loading that our settings are not its own.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=["qwen", "olmo"])
def checkpoint(request: pytest.FixtureRequest, plain_checkpoint: Path, olmo_checkpoint: Path) -> Path:
    """Both forms of language model."""
    return plain_checkpoint if request.param == "qwen" else olmo_checkpoint


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("parity") / "bundle"
    return build_bundle(BuildRequest(checkpoint, out, [len(TIMES)], [1.0], ["clip"]))


@pytest.fixture(scope="module")
def molmo2(checkpoint: Path) -> Any:
    model = Molmo2ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    return model.eval()


# What the released checkpoints' template makes of a conversation, with the blank that it has ahead of an answer which
# was given. It is transformers that renders it.
TEMPLATE = """\
{% for message in messages %}{% if message.role == 'user' %}{% if not loop.first %}{{ '<|im_end|>\\n' }}{% endif %}\
{{ '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}{% else %} {{ '<|im_start|>assistant\\n' }}\
{{ message.content }}{% endif %}{% endfor %}{{ '<|im_start|>assistant\\n' }}"""


def processor_ids(
    checkpoint: Path, question: str, times: Sequence[float] = TIMES, history: Sequence[Turn] = ()
) -> torch.Tensor:
    """The prompt as transformers' processor writes it, made without its torchvision-bound image side."""
    processor = Molmo2Processor.__new__(Molmo2Processor)
    processor.use_frame_special_tokens, processor.video_use_col_tokens = True, False
    video = processor.get_video_string(torch.tensor([len(times), 2, 2]), times)
    fast = PreTrainedTokenizerFast(tokenizer_file=str(checkpoint / "tokenizer.json"))
    said = [*(text for turn in history for text in turn), question]
    messages = [{"role": role, "content": one} for role, one in zip(cycle(("user", "assistant")), said, strict=False)]
    text = fast.apply_chat_template(messages, chat_template=TEMPLATE, tokenize=False)
    return torch.tensor([fast(f"<|im_end|>{video}{text}", add_special_tokens=False)["input_ids"]])


def molmo2_inputs(
    checkpoint: Path, question: str, frames: np.ndarray, history: Sequence[Turn] = ()
) -> dict[str, torch.Tensor]:
    """What transformers' model takes: row-major patches, and for every visual token the patches it pools."""
    ids = processor_ids(checkpoint, question, history=history)
    count = len(frames)
    pixels = (torch.from_numpy(frames).float() / 255 - 0.5) / 0.5
    patches = pixels.reshape(count, 6, 14, 6, 14, 3).permute(0, 1, 3, 2, 4, 5).reshape(count, 36, -1)
    windows = torch.arange(36).reshape(2, 3, 2, 3).permute(0, 2, 1, 3).reshape(4, 9)
    pooling = (windows[None] + torch.arange(count)[:, None, None] * 36).reshape(-1, 9)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    marks = [tokenizer.token_to_id(mark) for mark in ("<im_patch>", "<frame_start>", "<frame_end>")]
    return {
        "input_ids": ids,
        "pixel_values_videos": patches,
        "video_token_pooling": pooling,
        "video_grids": torch.tensor([[count, 2, 2]]),
        "mm_token_type_ids": torch.isin(ids, torch.tensor(marks)).long(),
    }


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (len(TIMES), 84, 84, 3), dtype=np.uint8)


def test_logits_equal_those_of_transformers(checkpoint: Path, molmo2: Any, frames: np.ndarray) -> None:
    inputs = molmo2_inputs(checkpoint, QUESTIONS[0], frames)
    with torch.no_grad():
        expected = molmo2(**inputs).logits[0, -1]
        modules = open_checkpoint(checkpoint).load()
        visual = modules.vision(torch.from_numpy(frames), TokenBudget(len(frames), 4, 1)).visual_tokens_KW
        ids = inputs["input_ids"][0]
        start, caches = torch.zeros(1, dtype=torch.int64), modules.language.empty_caches(len(ids))
        got = modules.language(ids, torch.arange(len(ids)), start, visual, caches).logits[0]
    assert (got - expected).abs().max() < LOGIT_ERROR
    assert expected.std() > 0.1, "the model says nothing, so equality means nothing"


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_text_equals_that_of_transformers(
    checkpoint: Path, bundle: Bundle, molmo2: Any, frames: np.ndarray, question: str
) -> None:
    inputs = molmo2_inputs(checkpoint, question, frames)
    with torch.no_grad():
        generated = molmo2.generate(**inputs, max_new_tokens=GENERATED, do_sample=False, eos_token_id=-1)
    expected = generated[0, inputs["input_ids"].shape[1] :].tolist()

    vision = load_vision(bundle, f"full-t{len(TIMES)}").run(frames)
    language = load_language(bundle)
    prompt = bundle.manifest.prompt
    builder = PromptBuilder((bundle.folder / prompt.tokenizer).read_bytes(), prompt)
    video = builder.video(TIMES, vision.kept)
    asked = builder.question(question, video)
    fill(language, vision.visual_tokens, video)
    got = generate(language, len(video), asked, eos_ids=[], max_tokens=GENERATED)
    assert got.ids == expected
    assert len(set(expected)) > 1, "a constant answer would prove little"


def test_every_turn_of_a_conversation_is_answered_as_transformers_does(
    checkpoint: Path, bundle: Bundle, molmo2: Any, frames: np.ndarray
) -> None:
    """With our own cache going on from turn to turn, and theirs filled anew."""
    session, history = Session.open(bundle, f"full-t{len(TIMES)}"), list[Turn]()
    watched = session.watch(Window("frames", TIMES[-1], np.array(TIMES), frames, 1.0))
    eos_ids = list(bundle.manifest.prompt.eos_ids)
    for number, question in enumerate([*QUESTIONS, "And why?"]):
        inputs = molmo2_inputs(checkpoint, question, frames, history)
        with torch.no_grad():
            generated = molmo2.generate(**inputs, max_new_tokens=GENERATED, do_sample=False, eos_token_id=eos_ids)
        answer = session.ask(watched, question, GENERATED, history=history)
        prompt = inputs["input_ids"].shape[1]
        assert answer.tokens.prompt == prompt
        assert answer.answer == session.text(generated[0, prompt:].tolist())
        assert (answer.tokens.cached > len(watched.prefix)) == (number > 0)
        history.append(Turn(question, answer.answer))
    assert len({turn.answer for turn in history}) > 1, "a constant answer would prove little"


FRAME_COUNTS = (*range(1, 33), 48, 64, 95, 96, 127, 128)


def builder_of(checkpoint: Path, positions: Positions) -> PromptBuilder:
    request = BuildRequest(checkpoint, Path("unused"), [1], [1.0], ["clip"], positions=positions)
    opened = open_checkpoint(checkpoint)
    return PromptBuilder(opened.text.tokenizer, plan_bundle(request, opened).prompt)


@pytest.mark.parametrize("positions", ["original", "compact"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_prompts_of_any_length_have_the_ids_that_the_processor_gives(
    plain_checkpoint: Path, question: str, positions: Positions
) -> None:
    builder = builder_of(plain_checkpoint, positions)
    for frames in FRAME_COUNTS:
        # The rule's times end with the duration, which is not a multiple of the step.
        times = [*np.arange(frames - 1) * 0.5, frames * 0.5 - 0.27]
        video = builder.video(times, np.ones((frames, 4), dtype=np.bool_))
        asked = builder.question(question, video)
        ours = [*video.ids.tolist(), *asked.ids.tolist()]
        assert ours == processor_ids(plain_checkpoint, question, times)[0].tolist(), frames
        assert [*video.positions.tolist(), *asked.positions.tolist()] == list(range(len(ours))), frames


@pytest.mark.parametrize("keep", [0.7, 0.5, 0.3])
def test_pruned_prompts_lack_the_dropped_patches_and_nothing_else(plain_checkpoint: Path, keep: float) -> None:
    original, compact = (builder_of(plain_checkpoint, positions) for positions in ("original", "compact"))
    patch = open_checkpoint(plain_checkpoint).config.markers.image_patch
    for frames in FRAME_COUNTS:
        kept = np.random.default_rng(frames).random((frames, 4)) < keep
        times = [0.5 * frame for frame in range(frames)]
        whole = processor_ids(plain_checkpoint, QUESTIONS[0], times)[0].numpy()
        stays = np.ones(len(whole), dtype=np.bool_)
        stays[whole == patch] = kept.reshape(-1)
        for builder, positions in ((original, np.flatnonzero(stays)), (compact, np.arange(stays.sum()))):
            video = builder.video(times, kept)
            asked = builder.question(QUESTIONS[0], video)
            assert np.array_equal(np.concatenate([video.ids, asked.ids]), whole[stays]), frames
            assert np.array_equal(np.concatenate([video.positions, asked.positions]), positions), frames
