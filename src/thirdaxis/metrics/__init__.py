"""Numbers: how well predictions agree with the truth."""
