"""vLLM's own Molmo2 of a released model's size, beside this project's engines."""
