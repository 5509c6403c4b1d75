"""Whatever order things happen in, a visible blob hashes to its name."""

import hashlib
import shutil
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import BlobCorruptError, HeldBlob, Ingest
from hubsync.store.layout import QUARANTINE_KEPT, StoreRoot
from hubsync.store.leftovers import clean_leftovers
from hubsync.store.local import LocalBlobs
from tests.contract.made import by_digest, by_oid

CONTENTS = [bytes([n]) * (n * 97) for n in range(5)]
content = st.sampled_from(CONTENTS)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hubsync-machine-"))
        self.store = LocalBlobs(StoreRoot.open(self.folder / "s", create=True))
        self.held: set[Digest] = set()
        self.open: dict[Descriptor, tuple[Ingest, bytearray]] = {}
        self.written: dict[str, bytes] = {}  # by key: what an abort kept

    def teardown(self) -> None:
        for ingest, _ in self.open.values():
            ingest.abort()
        shutil.rmtree(self.folder)

    @rule(data=content, plain=st.booleans())
    def begin(self, data: bytes, plain: bool) -> None:
        want = by_oid(data) if plain else by_digest(data)
        if want in self.open:
            return  # it would wait for us
        ingest = self.store.begin(want)
        assert ingest is not None, "it waited"
        if isinstance(ingest, HeldBlob):
            assert ingest.digest in self.held
            return
        assert want.digest not in self.held
        kept = self.written.pop(want.key, b"")
        assert ingest.offset == len(kept)
        self.open[want] = (ingest, bytearray(kept))

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False), block=st.binary(max_size=50))
    def write_anything(self, pick: Random, block: bytes) -> None:
        want = pick.choice(sorted(self.open, key=str))
        ingest, so_far = self.open[want]
        if len(so_far) + len(block) > want.size_bytes:
            with pytest.raises(BlobCorruptError):
                ingest.write(block)
            del self.open[want]
        else:
            ingest.write(block)
            so_far += block

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False), cut=st.integers(1, 400))
    def write_what_is_wanted(self, pick: Random, cut: int) -> None:
        want = pick.choice(sorted(self.open, key=str))
        ingest, so_far = self.open[want]
        data = next(one for one in CONTENTS if matches(want, one))
        block = data[len(so_far) : len(so_far) + cut]
        ingest.write(memoryview(block))
        so_far += block

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False))
    def complete(self, pick: Random) -> None:
        want = pick.choice(sorted(self.open, key=str))
        ingest, so_far = self.open.pop(want)
        if matches(want, bytes(so_far)):
            held = ingest.complete()
            assert held.digest == Digest.of(bytes(so_far))
            self.held.add(held.digest)
        else:
            with pytest.raises(BlobCorruptError):
                ingest.complete()

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False))
    def abort(self, pick: Random) -> None:
        want = pick.choice(sorted(self.open, key=str))
        ingest, so_far = self.open.pop(want)
        ingest.abort()
        self.written[want.key] = bytes(so_far)

    @precondition(lambda self: self.open)
    @rule(pick=st.randoms(use_true_random=False))
    def restart(self, pick: Random) -> None:
        want = pick.choice(sorted(self.open, key=str))
        ingest, so_far = self.open[want]
        ingest.restart()
        so_far.clear()

    @rule(data=content)
    def remove(self, data: bytes) -> None:
        digest = Digest.of(data)
        freed = self.store.remove(digest)
        assert freed == (len(data) if digest in self.held else 0)
        self.held.discard(digest)

    @rule(data=content)
    def quarantine(self, data: bytes) -> None:
        self.store.quarantine(Digest.of(data))
        self.held.discard(Digest.of(data))

    @rule(keep_partials=st.booleans())
    def clean_leftovers(self, keep_partials: bool) -> None:
        clean_leftovers(self.store.root, 3600.0 if keep_partials else -3600.0)
        if not keep_partials:
            self.written.clear()

    @rule()
    def open_again(self) -> None:
        """As another process would: it shares nothing but the disk."""
        self.store = LocalBlobs(StoreRoot.open(self.folder / "s", create=False))

    @invariant()
    def visible_means_verified(self) -> None:
        assert set(self.store.digests()) == self.held
        for digest in self.held:
            with self.store.open(digest) as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest.hex

    @invariant()
    def nothing_but_what_is_unfinished_is_left_behind(self) -> None:
        partials = {path.name for path in self.store.root.partial.iterdir()}
        unfinished = {want.key for want in self.open} | set(self.written)
        assert partials == unfinished
        assert not list(self.store.root.trash.iterdir())
        assert len(list(self.store.root.quarantine.iterdir())) <= QUARANTINE_KEPT


def matches(want: Descriptor, data: bytes) -> bool:
    known = by_oid(data) if want.git_oid else by_digest(data)
    return known == want


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
