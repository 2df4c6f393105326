"""Classification: the task of naming what an image shows. Importing it loads no torch."""
