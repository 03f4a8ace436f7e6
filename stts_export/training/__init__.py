"""Training of the exported modules, scorer included, on synthetic clips. Needs torch, and no graph library."""
