"""Floor 1: from folders and archives to a data set whose splits cannot leak."""
