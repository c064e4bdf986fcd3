"""Problems made by programs, with worked solutions: one family a file."""
