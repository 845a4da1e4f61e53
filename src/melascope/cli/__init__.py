"""Floor 6: the command, one file a verb."""
