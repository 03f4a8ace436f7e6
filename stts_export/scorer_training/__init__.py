"""Teaches a token scorer to a Molmo2 that has none and stays as it is. Needs torch, and no graph library."""
