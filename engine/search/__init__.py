"""A query in, ranked candidates and individuals out."""
