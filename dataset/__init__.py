"""Labelled sets of pictures: a ledger and immutable files, and the formats built from them."""
