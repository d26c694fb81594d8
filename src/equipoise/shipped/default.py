"""Which of the weights that ship are taken where none are named."""

#: For gray images, and for any number of channels one by one; for colour images.
DEFAULT, COLOUR = "wcrr-gray", "wcrr-colour"
