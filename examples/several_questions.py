"""Several questions about one clip: it is read, seen and prefilled once.

python examples/several_questions.py BUNDLE VIDEO
"""

import sys

import stts_runtime

bundle, video = sys.argv[1:]
with stts_runtime.load(bundle) as model:
    for answer in model.ask(video, ["What colour is the moving vehicle?", "Where is the person?"], max_tokens=16):
        print(f"{answer.milliseconds.total:6.1f} ms  {answer.question}  {answer.answer}")

    # Where the next question depends on the last answer, look first and ask later.
    clip = model.watch(video)
    for question in ("Did the vehicle cross the line?", "Which came in first, the person or the vehicle?"):
        answer = clip.ask(question, max_tokens=16)
        print(f"{answer.milliseconds.total:6.1f} ms  {question}  {answer.answer}")
