"""How many live streams one machine watches, and a bundle of a released model's size to try it with."""
