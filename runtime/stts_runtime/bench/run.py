"""One benchmark: from a bundle to its report."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from stts_runtime.bench.advice import advice, default_within_ms
from stts_runtime.bench.machine import machine
from stts_runtime.bench.measure import ANSWER_TOKENS, measure, resident_mb, variants_with
from stts_runtime.bench.report import Report, rows_of
from stts_runtime.bundle import Bundle
from stts_runtime.engines import BACKENDS, EngineName, check_engine
from stts_runtime.power import open_meter
from stts_runtime.video import VideoFile, Window, synthetic_window, window_of_file


class Benchmark:
    """Every variant that `engine` can run, on one window of a video, or of a synthetic clip without one."""

    def __init__(self, bundle: Bundle, video: VideoFile | None, engine: EngineName, rounds: int) -> None:
        """Raises `UserError` or `BundleError` if the engine cannot run here."""
        check_engine(bundle, engine)
        self._bundle, self._video, self._engine, self._rounds = bundle, video, engine, rounds
        self.notes = self._left_out()

    def run(self, within_ms: float | None, on_round: Callable[[], None]) -> Report:
        """`within_ms` is what to advise on; None takes what the quickest variant with the most frames needs."""
        needs_gpu = BACKENDS[self._engine].needs_gpu
        # Where everything runs on the CPU, NVML would tell what an idle GPU draws meanwhile.
        with open_meter(gpu=needs_gpu) as power:
            if power.meter is None and needs_gpu:
                self.notes.append(f"no energy: {power.no_meter_because}")
            samples = measure(
                self._bundle,
                self._window,
                self._rounds,
                on_round,
                meter=power.meter,
                engine=self._engine,
                tell=self.notes.append,
            )
        rows = rows_of(self._bundle, samples)
        within = default_within_ms(rows) if within_ms is None else within_ms
        return Report(
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            bundle=str(self._bundle.folder),
            source=self._video.name if self._video else "synthetic clip",
            engine=self._engine,
            rounds=self._rounds,
            answer_tokens=ANSWER_TOKENS,
            machine=machine(),
            resident_mb=round(resident_mb(), 1),
            rows=rows,
            within_ms=within,
            advice=advice(rows, within),
            power_source=power.source,
        )

    def _left_out(self) -> list[str]:
        """What was not compiled is not measured, and that is said."""
        there = variants_with(self._bundle, self._engine)
        missing = [name for name in self._bundle.answering if name not in there]
        return [f"not compiled for {self._engine}, so left out: {', '.join(missing)}"] if missing else []

    def _window(self, frames: int) -> Window:
        manifest = self._bundle.manifest
        if self._video is None:
            return synthetic_window(frames, manifest.vision.image_size)
        return window_of_file(self._video, frames, manifest.max_fps, manifest.vision.image_size)
