"""Floor 4: how well, with intervals."""
