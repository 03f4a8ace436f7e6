"""Counts the code: sizes, imports, duplicated places, and the files that a frame and a chat request pass through."""
