"""The benchmark on a GPU: engines against the same modules in torch, at a released model's size and random weights."""
