"""Floor 5: results as figures and pages a dermatologist can read."""
