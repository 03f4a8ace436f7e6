"""What the tasks beside it ask lmms-eval to show and to say, of what scripts/synthetic_questions.py wrote."""

from pathlib import Path

FOLDER = Path("out/questions")
WANTED = "Answer with the option's letter from the given choices directly."


def video(doc):
    return [str(FOLDER / doc["video"])]


def question(doc):
    return doc["question"]


def question_and_letters(doc):
    listed = [f"{letter}. {option}" for letter, option in zip(letters(doc), doc["options"], strict=True)]
    return "\n".join([doc["question"], *listed, WANTED])


def options(doc):
    return doc["options"]


def letters(doc):
    return list("ABCDEFGH"[: len(doc["options"])])


def right_option(doc):
    return doc["options"].index(doc["answer"])
