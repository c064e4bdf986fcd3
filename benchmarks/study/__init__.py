"""Studies: claims declared in advance, tested over training seeds and questions."""
