"""Class activation maps: where a model responds to an image, as numbers and as pictures."""
