"""An engine of one's own: anything with these methods can stand in for one. This one looks at no window twice.

python examples/custom_engine.py BUNDLE VIDEO
"""

import sys
from pathlib import Path

from stts_runtime import Bundle, Conversation, Session, VideoFile, window_of_file
from stts_runtime.engines import VisionEngine, VisionOutput, load_vision


class CachedVision:
    """A vision engine that keeps what it made of each window; on the CPU, where outputs are not overwritten."""

    def __init__(self, engine: VisionEngine) -> None:
        self._engine, self.lowering = engine, engine.lowering
        self._outputs: dict[bytes, VisionOutput] = {}

    def run(self, frames, given=None):
        key = frames.tobytes()
        if key not in self._outputs:
            self._outputs[key] = self._engine.run(frames, given)
        return self._outputs[key]

    def downloaded(self, output):
        return self._engine.downloaded(output)


bundle = Bundle.open(Path(sys.argv[1]))
variant = bundle.choose(keep=None, budget=None, frames=min(one.frames for one in bundle.manifest.variants.values()))
session = Session(bundle, variant, CachedVision(load_vision(bundle, variant)), Conversation.open(bundle))
frames, size = bundle.manifest.variants[variant].frames, bundle.manifest.vision.image_size
window = window_of_file(VideoFile(sys.argv[2]), frames, bundle.manifest.max_fps, size)
for _ in range(2):
    answer = session.ask(session.watch(window), "What happens?", max_tokens=8)
    print(f"vision {answer.milliseconds.vision:.2f} ms  {answer.answer}")
