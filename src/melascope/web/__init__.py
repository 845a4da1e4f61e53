"""Floor 6: the page and the API, on the predictor."""
