"""Synthetic surveillance clips with exact answers, made on the fly from a seed."""

from stts_calib.clips.clip import Clip, ClipSet, Split
from stts_calib.clips.hard_questions import HARD_KINDS
from stts_calib.clips.questions import KINDS, Kind, Question
from stts_calib.clips.scene import DURATION_SECONDS
from stts_calib.clips.video import write_video

__all__ = [
    "ALL_KINDS",
    "DURATION_SECONDS",
    "HARD_KINDS",
    "KINDS",
    "Clip",
    "ClipSet",
    "Kind",
    "Question",
    "Split",
    "write_video",
]

ALL_KINDS = (*KINDS, *HARD_KINDS)
