"""Every keep ratio of a bundle on one clip: the answers, and a plot of what they cost. Needs the extra `plot`.

python examples/compare_keeps.py BUNDLE VIDEO "What happens?" keeps.png
"""

import statistics
import sys

import matplotlib

import stts_runtime

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend is chosen first

ROUNDS = 5
bundle, video, question, out = sys.argv[1:]
milliseconds = {}
with stts_runtime.load(bundle) as model:
    for keep in model.keeps:
        model.ask(video, question, keep=keep)  # the first run of a variant loads it
        answers = [model.ask(video, question, keep=keep) for _ in range(ROUNDS)]
        milliseconds[keep] = statistics.median(one.milliseconds.total - one.milliseconds.read for one in answers)
        print(f"keep {keep:g}: {milliseconds[keep]:6.1f} ms  {answers[0].variant}  {answers[0].answer}")

figure, axes = plt.subplots()
axes.plot(list(milliseconds), list(milliseconds.values()), marker="o")
axes.set(xlabel="keep", ylabel="ms from frames to the whole answer", ylim=(0, None), title=question)
figure.savefig(out)
