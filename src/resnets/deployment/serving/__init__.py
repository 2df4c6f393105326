"""A trained network behind an address: a page for people and requests for programs."""
