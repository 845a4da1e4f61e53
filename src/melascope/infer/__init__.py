"""From an image to an answer or a refusal, without a deep-learning framework."""
