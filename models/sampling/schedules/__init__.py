"""The curves of `schedule`, a file for each thing that they are spaced by."""
