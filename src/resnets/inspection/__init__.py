"""Looking inside networks: what they cost, and how signals pass through them."""
