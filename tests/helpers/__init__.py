"""What tests share: drawn data sets, tiny models, servers."""
