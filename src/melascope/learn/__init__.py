"""Floor 2: from a data set to a model and its card."""
