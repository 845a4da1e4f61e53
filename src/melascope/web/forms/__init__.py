"""The forms in which images come in and answers go out."""
