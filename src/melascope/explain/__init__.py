"""Floor 4: where a model looks, and where it is unsure."""
