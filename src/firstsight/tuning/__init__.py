"""Choice of settings on validation classes, and the file that stores them."""
