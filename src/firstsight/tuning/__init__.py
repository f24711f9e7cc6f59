"""Settings chosen on validation classes, and the file that keeps them."""
