"""A live page and an OpenAI-compatible API in front of the streams. What computes is the pipeline's thread."""
