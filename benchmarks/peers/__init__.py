"""Other packages, called as their documentation calls them, on the same equation."""
