"""What a model is on disk, and how its logit becomes a decision."""
