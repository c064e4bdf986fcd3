"""The static site over all runs of a store, built from the catalog's tables.

The pages are fixed shells. One script fills them from JSON files in data/, so a new model adds files and changes few.
Texts from models and data reach a page as text nodes only, never as markup.
"""
