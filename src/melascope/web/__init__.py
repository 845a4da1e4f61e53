"""The page and the REST API that `melascope serve` starts."""
