"""Gates: which signals a question gives. One gate a file."""
