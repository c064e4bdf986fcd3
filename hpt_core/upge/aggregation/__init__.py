"""The weight of each token term, from whole-update counts."""
