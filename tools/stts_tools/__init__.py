"""Tools of the project's developers: in a clone alone, never in the wheel."""
