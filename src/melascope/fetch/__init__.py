"""Images with their provenance and licence, from the ISIC Archive, its challenges and ZIP files."""
