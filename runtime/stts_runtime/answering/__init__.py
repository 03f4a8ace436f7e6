"""The one place where an answer is made: what a language engine is shown, asked, and says."""

from stts_runtime.answering.conversation import Conversation, Generation, OnToken, Prefix, Reply, fill, generate, go_on
from stts_runtime.answering.text_stream import TextStream

__all__ = ["Conversation", "Generation", "OnToken", "Prefix", "Reply", "TextStream", "fill", "generate", "go_on"]
