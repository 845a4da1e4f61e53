"""Results as figures and pages that a dermatologist can read."""
