"""Which of the weights that ship are taken where none are named."""

#: For gray images, and for any number of channels one by one; for colour images.
DEFAULT, COLOUR = "wcrr-gray", "wcrr-colour"


def default_for(channels: int) -> str:
    """The weights for images of so many channels.

    Args:
        channels: 3 are taken as red, green and blue.
    """
    return COLOUR if channels == 3 else DEFAULT
