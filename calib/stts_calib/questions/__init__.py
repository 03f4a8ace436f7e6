"""People's own questions about their own videos, and those of public benchmarks, put to every variant of a bundle."""

from stts_calib.questions.evaluate import QuestionEvaluation
from stts_calib.questions.exam import OptionsAsked
from stts_calib.questions.judge import judged_by
from stts_calib.questions.page import write_page
from stts_calib.questions.read import QuestionFile, read_questions
from stts_calib.questions.report import QuestionReport, question_report_of

__all__ = [
    "OptionsAsked",
    "QuestionEvaluation",
    "QuestionFile",
    "QuestionReport",
    "judged_by",
    "question_report_of",
    "read_questions",
    "write_page",
]
