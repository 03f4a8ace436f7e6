"""A keep that follows the scene, tried on paper: which rule would choose which variant, and what it would have cost."""
