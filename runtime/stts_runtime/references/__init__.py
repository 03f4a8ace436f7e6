"""What the engines of a bundle must give for given inputs, as files have it, and how near they must come."""
