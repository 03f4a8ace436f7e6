"""Which patches were kept: as an array, as a picture, and drawn by hand on frames that a program has already.

python examples/draw_kept.py BUNDLE kept.png
"""

import sys

import numpy as np

import stts_runtime

bundle, out = sys.argv[1:]

# A bright square crosses a dark scene: RGB frames of any size, with their times in seconds.
frames = np.full((16, 240, 320, 3), 40, np.uint8)
for number, frame in enumerate(frames):
    frame[100:140, 20 * number : 20 * number + 40] = 220

with stts_runtime.load(bundle) as model:
    answer = model.ask(frames, "What moves?", times=np.arange(16) / 2, max_tokens=8)

answer.write_picture(out)
side = int(answer.kept.shape[1] ** 0.5)
for seconds, kept in zip(answer.window.times_seconds, answer.kept, strict=True):
    print(f"{seconds:.1f} s: {kept.sum()} of {kept.size} kept")
    print("\n".join("".join("#" if one else "." for one in row) for row in kept.reshape(side, side)))
