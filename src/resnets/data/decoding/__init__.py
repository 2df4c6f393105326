"""From an encoded image to pixels, and from pixels to a network's input."""
