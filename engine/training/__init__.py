"""The trainings that need pairs of photographs: ranker, keypoint metric, skin network."""
