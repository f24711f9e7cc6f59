"""Methods x data x seeds -> a folder of results."""
