"""Made-up animals, and the demo that is drawn with them."""
