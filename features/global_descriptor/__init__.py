"""One vector a photograph: networks, their input, their runtime, heat maps and the classifier."""
