"""What the engines of a bundle must give for given inputs, and the comparison of what they give with it."""
