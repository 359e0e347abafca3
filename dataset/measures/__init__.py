"""How good a made set is beside a real one, by features of pictures and by what a classifier learns from it."""
