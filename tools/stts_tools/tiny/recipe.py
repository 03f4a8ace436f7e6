"""The recipe that `checkpoints/tiny` is trained with."""

from __future__ import annotations

from stts_export.training.recipe import Phase, Recipe, ScoreLoss, TrainingSetting

PRUNE_FRACTION = 0.5


def _settings(frames: int, share: float, keeps: dict[float, float], by_frame: float = 0.0) -> list[TrainingSetting]:
    """Settings of as many frames that together have this share; `keeps` has the share of each keep."""
    made = [TrainingSetting(frames, keep, "clip", share * part) for keep, part in keeps.items()]
    return made + ([TrainingSetting(frames, 0.5, "frame", share * by_frame)] if by_frame else [])


# What makes one checkpoint answer at every keep, and unpruned too. More frames keep a smaller part, since that is what
# they are for: 16 at 0.5, 32 at 0.25 and 64 at 0.125 cost what 8 cost unpruned.
_8 = {1.0: 0.45, 0.5: 0.4, 0.25: 0.15}
_16 = {1.0: 0.25, 0.7: 0.05, 0.5: 0.35, 0.3: 0.15, 0.2: 0.05, 0.1: 0.05}
_32 = {1.0: 0.2, 0.5: 0.25, 0.25: 0.4, 0.1: 0.15}
_64 = {1.0: 0.1, 0.5: 0.2, 0.25: 0.2, 0.125: 0.4, 0.05: 0.1}

TINY = Recipe(
    # The first steps see few frames: what people and vehicles look like is learned as well there, and from more clips.
    phases=(
        Phase(0.3, (*_settings(8, 1.0, _8),)),
        Phase(0.65, (*_settings(8, 0.25, _8), *_settings(16, 0.55, _16), *_settings(32, 0.2, _32))),
        Phase(
            1.0,
            (
                *_settings(8, 0.14, _8),
                *_settings(16, 0.36, _16, by_frame=0.1),
                *_settings(32, 0.25, _32),
                *_settings(64, 0.25, _64),
            ),
        ),
    ),
    validated_settings=(
        TrainingSetting(8, 1.0, "clip"),
        TrainingSetting(16, 1.0, "clip"),
        TrainingSetting(16, 0.5, "clip"),
        TrainingSetting(32, 0.25, "clip"),
        TrainingSetting(64, 0.125, "clip"),
    ),
    steps=100_000,
    minutes=27.0,
    frames_per_step=768,
    hard_share=0.55,
    matrix_rate=7e-4,
    other_rate=1e-3,
    warm_up_steps=200,
    weight_decay=0.01,
    scores=ScoreLoss(weight=0.5, change=0.3, held=6.0, evenness=0.05, noise=0.05),
    report_every=50,
    validate_every=1000,
    validation_clips=96,
)
