"""From folders and archives to a data set whose splits share no patient, lesion or copy."""
