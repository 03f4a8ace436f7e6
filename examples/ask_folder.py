"""A question about every video in a folder, with progress; a video that cannot be read does not stop the others.

python examples/ask_folder.py BUNDLE FOLDER "What happens?" > answers.jsonl
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

import stts_runtime

bundle, folder, question = sys.argv[1:]
videos = sorted(Path(folder).glob("*.mp4"))
to_terminal = Console(stderr=True)

with stts_runtime.load(bundle) as model:
    for video in track(videos, console=to_terminal):
        try:
            answer = model.ask(video, question)
        except stts_runtime.UserError as error:
            to_terminal.print(f"{video.name}: {error}")
        else:
            print(answer.model_dump_json())
