"""One question about one video file, with the answer printed as it is generated.

python examples/ask_file.py BUNDLE VIDEO "What happens?"
"""

import sys

import stts_runtime

bundle, video, question = sys.argv[1:]
with stts_runtime.load(bundle) as model:
    answer = model.ask(video, question, on_token=lambda text: print(text, end="", flush=True))

print(f"\n{answer.variant} on {model.engine}: kept {answer.tokens.visual_kept} of {answer.tokens.visual_in} tokens")
print(f"{answer.milliseconds.total:.0f} ms, of which vision {answer.milliseconds.vision:.0f}")
for note in answer.notes:
    print("note:", note)
