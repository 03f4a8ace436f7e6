"""Synthetic surveillance clips with exact answers, made on the fly from a seed."""

from stts_calib.clips.clip import Clip, Split
from stts_calib.clips.questions import KINDS, Kind, Question
from stts_calib.clips.scene import DURATION_SECONDS

__all__ = ["DURATION_SECONDS", "KINDS", "Clip", "Kind", "Question", "Split"]
