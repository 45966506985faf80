"""The command that looks after a store: size, verify, compact, prune."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import refs_of
from engine.commands.console import ProgressBar, say
from engine.commands.exit_status import EXIT_DATA
from engine.commands.options import Command, add_engine_options, add_format, matcher_from
from engine.search.large import take_out_damaged_indexes
from features.describe import Describer, content_key
from features.known_files import KnownFiles
from features.photo import PhotoError
from features.store import FeatureStore, StoreError, default_store
from features.store.feature_store import digests_of
from features.store.maintenance import (
    Compaction,
    StoreCheck,
    StoreContents,
    compact_store,
    count_unwanted,
    store_contents,
    verify_store,
)
from scarmatch.errors import ScarmatchError

ACTIONS = ("size", "verify", "compact", "prune")


class StoreCommandError(ScarmatchError, ValueError):
    """What was asked of a store lacks something; the message says what to give."""


def _store_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=ACTIONS,
        help="size: what it holds; verify: read every record, and take out what is damaged; compact: make few files of "
        "many, convert stores of earlier versions, free what was taken out; prune: drop what the catalogues named do "
        "not need with these settings, and compact",
    )
    parser.add_argument(
        "catalogs",
        nargs="*",
        type=Path,
        metavar="CATALOG",
        help="whose store it is (or --store); for prune: all that use it",
    )
    add_format(parser)
    parser.add_argument("--dry-run", action="store_true", help="prune: say what would be dropped, and drop nothing")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    add_engine_options(parser, ranker=False)


def _store(options: argparse.Namespace) -> int:
    catalogs = [Catalog.read(path, options.format) for path in options.catalogs]
    store = FeatureStore(_root_of(options, catalogs))
    if not store.root.is_dir():
        raise StoreError(f"there is no store {store.root}: index a catalogue first, or name another with --store")
    bar = ProgressBar(f"store {options.action}")
    if options.action == "size":
        return _print(options, store_contents(store), _sizes_as_text(store_contents(store), store.root))
    if options.action == "verify":
        check = verify_store(store, bar)
        check = dataclasses.replace(check, damaged=(*check.damaged, *take_out_damaged_indexes(store.root)))
        _print(options, check, _check_as_text(check))
        return 0 if check.ok else EXIT_DATA
    if options.action == "compact":
        done = compact_store(store, progress=bar)
        return _print(options, done, _compaction_as_text(done))
    if not catalogs:
        raise StoreCommandError(
            "prune needs the catalogues whose descriptions are to stay: name all that use the store"
        )
    keep = _wanted(options, catalogs, store)
    if options.dry_run:
        count, size = count_unwanted(store, keep)
        found = {"unwanted": count, "bytes": size}
        return _print(options, found, f"{count:,} records, {size / 1e6:,.1f} MB, would be dropped")
    done = compact_store(store, keep, bar)
    return _print(options, done, _compaction_as_text(done))


def _root_of(options: argparse.Namespace, catalogs: list[Catalog]) -> Path:
    """Return the store that is meant: the one named, or the one of the catalogues."""
    if options.store is not None:
        return Path(options.store)
    roots = {default_store(catalog.root) for catalog in catalogs}
    if len(roots) != 1:
        raise StoreCommandError(
            "name the store with --store, or one catalogue"
            if not roots
            else "these catalogues have stores of their own: name one with --store"
        )
    return roots.pop()


def _wanted(options: argparse.Namespace, catalogs: list[Catalog], store: FeatureStore) -> npt.NDArray[np.uint64]:
    """Return the digests of all records that the catalogues need with these settings."""
    keys: list[str] = []
    unread = 0
    for catalog in catalogs:
        # Each catalogue is described by the model that suits it.
        describer = Describer(matcher_from(options, catalog).settings.describe, store, options.device)
        keys.append(KnownFiles(store, catalog.root).key)
        for ref in refs_of(catalog):
            try:
                keys += describer.store_keys(content_key(ref))
            except PhotoError:
                unread += 1
    if unread:
        say(f"{unread:,} photographs cannot be read now: if the store knows them, they are dropped")
    return digests_of(keys)


def _print(options: argparse.Namespace, found: Any, text: str) -> int:
    record = found if isinstance(found, dict) else dataclasses.asdict(found)
    print(json.dumps(record, indent=2) if options.json else text)
    return 0


def _sizes_as_text(found: StoreContents, root: Path) -> str:
    lines = [f"{root}: {found.shards[0]:,} shards, {found.shards[1] / 1e6:,.1f} MB"]
    lines += [
        f"  {kind:<24} {count:>11,} records {size / 1e6:>12,.1f} MB" for kind, (count, size) in found.kinds.items()
    ]
    if found.dead[0]:
        lines.append(
            f"  {'taken out, or twice':<24} {found.dead[0]:>11,} records {found.dead[1] / 1e6:>12,.1f} MB "
            "(compact frees them)"
        )
    if found.entry_files[0]:
        count, size = found.entry_files
        lines.append(
            f"  files of an earlier version {count:>8,} entries {size / 1e6:>12,.1f} MB (compact converts them)"
        )
    lines += [f"{name}: {size / 1e6:,.1f} MB" for name, size in found.others.items()]
    return "\n".join(lines)


def _check_as_text(check: StoreCheck) -> str:
    lines = [f"{check.records:,} records read, {len(check.damaged):,} damaged"]
    lines += [f"damaged, and computed anew when it is needed: {name}" for name in check.damaged]
    lines += [f"{text}; `scarmatch store compact` writes it anew" for text in check.troubles]
    return "\n".join(lines)


def _compaction_as_text(done: Compaction) -> str:
    lines = [
        f"{done.kept:,} records in {done.shards:,} shards, {done.bytes / 1e6:,.1f} MB "
        f"(before: {done.shards_before:,} shards, {done.bytes_before / 1e6:,.1f} MB with files of entries)"
    ]
    if done.converted:
        lines.append(f"{done.converted:,} entries of an earlier version are records now")
    if done.dropped:
        lines.append(f"{done.dropped:,} records were dropped: copies, or not wanted")
    lines += [f"damaged, and computed anew when it is needed: {name}" for name in done.damaged]
    if done.busy:
        lines.append(f"left as they are, because somebody writes them: {', '.join(done.busy)}")
    return "\n".join(lines)


COMMANDS = {"store": Command(_store_arguments, _store)}
