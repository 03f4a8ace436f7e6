"""vLLM's own Molmo2 of a released model's size, compared with this project's engines."""
