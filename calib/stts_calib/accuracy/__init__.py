"""Accuracy of a bundle's engines on synthetic clips, pruned against unpruned and against controls."""

from stts_calib.accuracy.evaluate import Evaluation
from stts_calib.accuracy.needs import weights_held
from stts_calib.accuracy.plot import check_plot_library, write_accuracy_plot
from stts_calib.accuracy.report import AccuracyReport, report_of
from stts_calib.accuracy.settings import settings_of

__all__ = [
    "AccuracyReport",
    "Evaluation",
    "check_plot_library",
    "report_of",
    "settings_of",
    "weights_held",
    "write_accuracy_plot",
]
