"""Moving a Feast repository here: rewriting its imports, and saying what is left to do by hand."""
