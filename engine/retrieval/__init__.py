"""Search of catalogues that are too large to look at every photograph, from files beside the store that only grow.

::

    vectors         the global descriptors: an exact search by codes of one byte a number
    vocabulary      words that keypoint descriptors are quantised to
    word_index      which photographs have which words: the candidates of a query's keypoints
"""
