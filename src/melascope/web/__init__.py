"""The web page and the API, both served by the predictor."""
