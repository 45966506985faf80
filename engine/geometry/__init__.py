"""Geometric verification of a pair: sampling, minimal solvers, scoring, RANSAC."""
