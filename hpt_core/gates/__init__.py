"""Gates choose the signals of a question. One file per gate."""
