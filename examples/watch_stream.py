"""Answers about a camera as they come: when the scorer sees something new, and at least once a minute.

python examples/watch_stream.py BUNDLE rtsp://CAMERA/stream1 "What moves?"
"""

import sys

import stts_runtime


def report(event: stts_runtime.StreamEvent) -> None:
    print(f"{event.created}  {event.state}: {event.reason}", file=sys.stderr)


bundle, source, question = sys.argv[1:]
with stts_runtime.load(bundle) as model:
    answers = model.stream(source, ask=question, when="novelty>0.2", longest_pause="1m", on_event=report)
    for answer in answers:  # Ctrl-C ends it; a file ends by itself
        share = answer.kept.mean()
        print(f"{answer.created}  {answer.answer}  ({answer.trigger}; kept {share:.0%} of {answer.kept.size} groups)")
