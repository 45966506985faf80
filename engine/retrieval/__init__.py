"""Search of catalogues that are too large to look at every photograph, from files beside the store that only grow.

::

    segments        files of equal rows by key, written at once or not at all
    vectors         the global descriptors: an exact search by codes of one byte a number
    code_files      the keypoint descriptors that are scored
    described       what descriptions are made of, without a record of the store each
    vocabulary      words that keypoint descriptors are quantised to
    word_index      which photographs have which words: the candidates of a query's keypoints
"""
