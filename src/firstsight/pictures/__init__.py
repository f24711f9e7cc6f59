"""Files on disk -> pixels: found, decoded, shrunk and kept, laid out on a sheet."""
