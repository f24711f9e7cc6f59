"""Pixels -> features [n, v]: backbones, the files that keep their features, and the one reader of such files."""
