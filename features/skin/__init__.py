"""Dense descriptors of the skin."""
