"""The recipe that `checkpoints/tiny` was trained with."""

from __future__ import annotations

from stts_export.training.recipe import Recipe, TrainingSetting

PRUNE_FRACTION = 0.5

TINY = Recipe(
    # Half of the tokens go in most steps, from the first step on. The rest makes one checkpoint answer at every keep,
    # and unpruned too: both are compared on the same weights, which have seen more pruned steps than unpruned.
    settings=(
        TrainingSetting(16, 0.5, "clip", 0.46),
        TrainingSetting(16, 1.0, "clip", 0.16),
        TrainingSetting(16, 0.3, "clip", 0.08),
        TrainingSetting(16, 0.7, "clip", 0.06),
        TrainingSetting(16, 0.5, "frame", 0.06),
        TrainingSetting(8, 0.5, "clip", 0.06),
        TrainingSetting(8, 1.0, "clip", 0.12),
    ),
    # The first steps see few frames: what people and vehicles look like is learned as well there, at half the cost.
    opening_settings=(TrainingSetting(8, 0.5, "clip", 0.5), TrainingSetting(8, 1.0, "clip", 0.5)),
    validated_settings=(
        TrainingSetting(16, 1.0, "clip"),
        TrainingSetting(16, 0.5, "clip"),
        TrainingSetting(8, 1.0, "clip"),
    ),
    steps=3600,
    minutes=10.0,
    opening_steps=1600,
    clips_per_step=64,
    matrix_rate=7e-4,
    other_rate=1e-3,
    warm_up_steps=200,
    weight_decay=0.01,
    score_weight=0.5,
    report_every=20,
    validate_every=400,
    validation_clips=256,
)
