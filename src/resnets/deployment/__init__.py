"""Using trained networks: prediction."""
