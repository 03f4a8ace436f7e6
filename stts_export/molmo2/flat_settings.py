"""The flat settings of videos that older runs have in their `config.yaml` -> the `video` section that newer ones have.

As allenai/molmo2 moves them (`VideoPreprocessorConfig.build_from_legacy_config`). The released checkpoints with a
scorer were trained with flat settings.
"""

from __future__ import annotations

from collections.abc import Mapping

from stts_export.errors import CheckpointError

_MOVED = (
    "max_frames", "frame_sample_mode", "max_fps", "time_mode", "pooling_w", "pooling_h", "use_frame_special_tokens",
)  # fmt: skip
"""Those that are read: none of them may be left to a default."""
_MOVED_UNREAD = (
    "candidate_sampling_fps", "cache_videos", "loading_method", "time_sampling", "subtitle_mode", "max_subtitle_tokens",
)  # fmt: skip
_ONCE = 1
"""Crops that a frame must have: older code could cut it into more."""


def with_video_section(preprocessor: Mapping[str, object]) -> dict[str, object]:
    """`mm_preprocessor` with what there is about videos in `video`, the rest as it was.

    Raises `CheckpointError` for flat settings that the upstream code does not move either.
    """
    if "video" in preprocessor:
        return dict(preprocessor)
    if missing := [key for key in _MOVED if key not in preprocessor]:
        raise CheckpointError(
            f"config.yaml: model.mm_preprocessor has neither a `video` section nor, as older runs do, {missing[0]}"
        )
    crops = preprocessor.get("max_crops", _ONCE)
    if crops != _ONCE:
        raise CheckpointError(f"config.yaml: model.mm_preprocessor.max_crops is {crops!r}; only {_ONCE} is supported")
    video = {key: preprocessor[key] for key in (*_MOVED, *_MOVED_UNREAD) if key in preprocessor}
    # Older runs had no other way than marks around every frame.
    video["per_frame_special_token"] = True
    left = preprocessor.keys() - {*video, "per_frame_special_token"}
    return {"video": video, **{key: preprocessor[key] for key in sorted(left)}}
