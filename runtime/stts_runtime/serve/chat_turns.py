"""From the messages of a chat request to one conversation about one clip, picture or stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stts_runtime.answering import Turn
from stts_runtime.serve.api_errors import ApiError
from stts_runtime.serve.media import DATA_URL, is_data_url
from stts_runtime.serve.openai_records import FilePart, ImagePart, Message, TextPart, VideoPart, VisualPart
from stts_runtime.serve.questions import Frames, Media, Stream

_SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Dialogue:
    """A question, what it is about, and the turns before it."""

    question: str
    history: Sequence[Turn]
    about: Stream | Media | Frames
    notes: list[str]
    """What of the messages is not in the prompt."""


def has_visuals(messages: Sequence[Message]) -> bool:
    return next(_with_visuals(messages), None) is not None


def dialogue_of(messages: Sequence[Message], stream: str | None) -> Dialogue:
    """Of messages of which the last is the user's; `stream` is what the model's name says. Raises `ApiError` 400."""
    if stream is not None:
        return _about_stream(messages, stream)
    first, about = _about(messages)
    history, question, unsaid = _turns(messages[first:])
    system = _system(messages)
    if history:
        history[0] = history[0]._replace(question="\n".join([*system, history[0].question]))
    else:
        question = "\n".join([*system, question])
    return Dialogue(question, history, about, _notes(sum(one.role not in _SYSTEM for one in messages[:first]), unsaid))


def _about_stream(messages: Sequence[Message], stream: str) -> Dialogue:
    """What a source shows changes from turn to turn, so its earlier ones are about something else."""
    newest = messages[-1]
    if _visuals(newest):
        raise ApiError(400, "a stream has pictures of its own; leave yours out, or name another model", "model")
    left_out = sum(one.role not in _SYSTEM for one in messages[:-1])
    notes = [f"{left_out} earlier messages are not in the prompt: a question about a source is about what it shows now"]
    text = "\n".join([*_system(messages), *newest.texts])
    return Dialogue(text, [], Stream(stream), notes if left_out else [])


def _about(messages: Sequence[Message]) -> tuple[int, Media | Frames]:
    """The number of the message with which the conversation about the newest picture or clip begins, and that. Clients
    send the whole conversation again, and some each picture again, or all of a clip's.
    """
    shown = list(_with_visuals(messages))
    if not shown:
        raise ApiError(
            400,
            "there is nothing to look at: add an image_url, video_url or file part, or name a stream/NAME model",
            "messages",
        )
    number, visuals = shown[0]
    place = f"messages[{number}].content"
    parts = [part for _, part in visuals]
    is_alone = all([part for _, part in others] == parts for _, others in shown)
    return 0 if is_alone else number, _shown(visuals, place)


def _shown(visuals: Sequence[tuple[int, VisualPart]], place: str) -> Media | Frames:
    """What one message shows. Raises `ApiError` 400 unless that is one thing."""
    all_of_it = tuple(_media(part, f"{place}[{number}]") for number, part in visuals)
    if len(all_of_it) == 1:
        return all_of_it[0]
    if not all(one.kind == "picture" for one in all_of_it):
        raise ApiError(
            400,
            f"{place} may have one clip, or pictures (image_url) that are the frames of one; got {len(visuals)} parts",
            place,
        )
    return Frames(all_of_it, place)


def _turns(messages: Sequence[Message]) -> tuple[list[Turn], str, int]:
    """Turns that were answered, the question, and how many messages are in neither. Several messages of one side are
    one.
    """
    said: list[tuple[str, list[str]]] = []
    unsaid = 0
    for one in messages:
        if one.role in _SYSTEM:
            continue
        if one.role != "user" and (one.role != "assistant" or one.content is None or not said):
            unsaid += 1
        elif said and said[-1][0] == one.role:
            said[-1][1].extend(one.texts)
        else:
            said.append((one.role, one.texts))
    texts = ["\n".join(texts) for _, texts in said]
    history = [Turn(*pair) for pair in zip(texts[0:-1:2], texts[1::2], strict=True)]
    return history, texts[-1], unsaid


def _notes(about_others: int, unsaid: int) -> list[str]:
    notes = []
    if about_others:
        notes.append(f"{about_others} earlier messages are about another picture or clip, and not in the prompt")
    if unsaid:
        notes.append(
            f"{unsaid} messages were left out of the prompt: those of tools, those without content, and those of the "
            "assistant before the first question"
        )
    return notes


def _system(messages: Sequence[Message]) -> list[str]:
    return [text for one in messages if one.role in _SYSTEM for text in one.texts]


def _with_visuals(messages: Sequence[Message]) -> Iterator[tuple[int, list[tuple[int, VisualPart]]]]:
    """From the newest message to the oldest."""
    for number in reversed(range(len(messages))):
        if visuals := _visuals(messages[number]):
            yield number, visuals


def _visuals(message: Message) -> list[tuple[int, VisualPart]]:
    if not isinstance(message.content, list):
        return []
    return [(place, part) for place, part in enumerate(message.content) if not isinstance(part, TextPart)]


def _media(part: VisualPart, place: str) -> Media:
    if isinstance(part, ImagePart):
        return Media(part.image_url.url, f"{place}.image_url.url", "picture")
    if isinstance(part, VideoPart):
        return Media(part.video_url.url, f"{place}.video_url.url", "clip")
    assert isinstance(part, FilePart)
    if part.file.file_data is None:
        return Media(part.file.file_id or "", f"{place}.file.file_id")
    param = f"{place}.file.file_data"
    if not is_data_url(part.file.file_data):
        raise ApiError(400, f"{param} should be {DATA_URL}", param)
    return Media(part.file.file_data, param)
