"""From a data set to a trained model with its card."""
