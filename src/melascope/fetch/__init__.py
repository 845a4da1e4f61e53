"""Images with their provenance, from the ISIC Archive, its challenges and ZIPs: complete, resumable, licensed."""
