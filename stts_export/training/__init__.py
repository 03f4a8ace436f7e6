"""Training of the small checkpoint that the repository ships: the exported modules, on synthetic clips."""
