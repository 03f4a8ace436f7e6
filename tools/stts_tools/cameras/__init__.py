"""Accuracy by kind of camera, over the answers of one or several evaluations of the same clips."""
