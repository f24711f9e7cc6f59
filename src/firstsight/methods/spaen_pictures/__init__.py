"""SP-AEN on pictures."""
