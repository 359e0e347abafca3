"""A room for learning: other ways to destroy a picture than Gaussian noise, and one loop that undoes them all."""
