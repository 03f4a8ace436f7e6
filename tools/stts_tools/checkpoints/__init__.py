"""Checkpoints that the project makes itself: their sizes, tokenizer and random weights."""
