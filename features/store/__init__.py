"""What was computed of photographs, kept on disk and never trusted blindly.

::

    feature_store    arrays by key: what everybody uses
    record           one record's bytes, with its key and checksums
    shard            one file of records, and the index beside it; reading
    shard_writer     appending to a shard of one's own
    entries          where records lie: one array per shard, searched by key
    segments         arrays about many photographs beside the records: what the search of large catalogues reads
    earlier_layout   stores of one file an entry, which are read still
    maintenance      compact, verify, prune, sizes
    errors           what can be wrong
"""

from __future__ import annotations

from features.store.errors import LostEntryError, StoreError
from features.store.feature_store import FeatureStore, StoreSize, default_store

__all__ = ["FeatureStore", "LostEntryError", "StoreError", "StoreSize", "default_store"]
