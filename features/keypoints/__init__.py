"""Keypoints and their descriptors: ALIKED, DISK, XFeat, SIFT, and the learned metric."""
