"""The weight of each token term, computed from counts of the whole update."""
