"""What one run is: its record, intervals and comparisons."""
