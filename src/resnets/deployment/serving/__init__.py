"""A trained network served at an address: a page for people and requests for programs."""
