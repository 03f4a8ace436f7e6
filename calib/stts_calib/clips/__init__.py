"""Synthetic surveillance clips with exact answers, made on the fly from a seed."""

from stts_calib.clips.clip import Clip, Split
from stts_calib.clips.questions import KINDS, Kind, Question
from stts_calib.clips.scene import DURATION_SECONDS
from stts_calib.clips.video import write_video

__all__ = ["DURATION_SECONDS", "KINDS", "Clip", "Kind", "Question", "Split", "write_video"]
