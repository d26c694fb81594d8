"""Which of the weights that ship are taken where none are named."""

#: For noisy images, gray and colour.
DEFAULT = "wcrr-gray"
