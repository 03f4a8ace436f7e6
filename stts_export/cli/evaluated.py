"""What `stts-export evaluate` writes and prints both for our clips and for the user's own questions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stts_runtime.bundle.manifest import Scorer
from stts_runtime.outputs import written_whole


@dataclass(frozen=True)
class Outputs:
    """Where to, checked before."""

    journal: Path | None
    report: Path | None
    answers: Path | None
    as_json: bool

    def write(self, made: BaseModel, records: Iterable[Mapping[str, Any]]) -> list[Path]:
        """Writes the report, .json, and every answer, .jsonl, as far as asked for; returns what was written."""
        if self.report is not None:
            with written_whole(self.report) as scratch:
                scratch.write_text(made.model_dump_json(indent=1) + "\n")
        if self.answers is not None:
            with written_whole(self.answers) as scratch:
                scratch.write_text("".join(json.dumps(one) + "\n" for one in records))
        return [path for path in (self.report, self.answers) if path is not None]


def show_scorer(scorer: Scorer | None, random_weights: bool) -> None:
    """What chose the groups, and whether the answers mean anything."""
    from stts_runtime.cli.show import console, scored_by
    from stts_runtime.session import NOISE

    if scorer is not None:
        console.print(scored_by(scorer), soft_wrap=True)
    if random_weights:
        console.print(f"note: {NOISE}")


def show_written(written: Iterable[Path]) -> None:
    from stts_runtime.cli.show import console

    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)
