"""Class activation maps: where a model looks."""
