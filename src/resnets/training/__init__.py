"""Training: a recipe (what), carried out by a run (where), step by step (how)."""
