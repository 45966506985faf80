"""The same work on more machines than one, by dask's scheduler and workers (extra ``cluster``).

::

    cluster         a scheduler, its workers, and tasks for them
    versions        what has to be the same on both sides, and its comparison
    local_worker    a worker process of a cluster of one's own
"""
