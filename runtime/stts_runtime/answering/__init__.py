"""The one place where an answer is made: what a language engine is shown, asked, and says."""

from stts_runtime.answering.calls import Calls, alone
from stts_runtime.answering.conversation import Conversation, Prefix, check_askable
from stts_runtime.answering.form import FREE, AnswerForm, Sampling
from stts_runtime.answering.generation import Generation, OnToken, fill, generate, go_on
from stts_runtime.answering.pool import AnswerPool
from stts_runtime.answering.reply import Reply
from stts_runtime.answering.text_stream import TextStream
from stts_runtime.prompt import Turn

__all__ = [
    "FREE",
    "AnswerForm",
    "AnswerPool",
    "Calls",
    "Conversation",
    "Generation",
    "OnToken",
    "Prefix",
    "Reply",
    "Sampling",
    "TextStream",
    "Turn",
    "alone",
    "check_askable",
    "fill",
    "generate",
    "go_on",
]
