"""Pairs of photographs in, tentative matches and a pair's measurements out."""
