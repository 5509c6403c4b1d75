"""What every `BlobStore` promises.  Subclass it and give a ``store`` fixture."""

import threading
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubsync.model.digest import Descriptor, Digest, GitOid, InvalidDigestError
from hubsync.ports.blobs import (
    BlobCorruptError,
    BlobNotFoundError,
    BlobStore,
    HeldBlob,
)
from tests.contract.made import begin, by_digest, by_oid, fill, read

DATA = b"the quick brown fox" * 1000
DIGEST = Digest.of(DATA)
WANT = by_digest(DATA)


class BlobStoreContract:
    def test_a_completed_blob_is_read_back_byte_for_byte(
        self, store: BlobStore
    ) -> None:
        held = fill(store, WANT, DATA)

        assert held.digest == DIGEST
        assert held.size_bytes == len(DATA)
        assert read(store, DIGEST) == DATA

    def test_a_plain_file_asked_for_by_git_oid_is_named_by_its_sha256(
        self, store: BlobStore
    ) -> None:
        held = fill(store, by_oid(DATA), DATA)

        assert held == HeldBlob(DIGEST, len(DATA), GitOid.of_blob(DATA))
        assert store.has(DIGEST, len(DATA))

    def test_both_names_are_checked_when_both_are_known(self, store: BlobStore) -> None:
        want = Descriptor(len(DATA), DIGEST, GitOid.of_blob(b"something else"))
        ingest = begin(store, want)
        ingest.write(DATA)

        with pytest.raises(BlobCorruptError, match="git:"):
            ingest.complete()
        assert not store.has(DIGEST)

    def test_an_empty_blob_is_a_blob(self, store: BlobStore) -> None:
        held = fill(store, by_digest(b""), b"")

        assert read(store, held.digest) == b""
        assert store.has(held.digest, 0)

    def test_an_empty_plain_file_is_a_blob(self, store: BlobStore) -> None:
        assert fill(store, by_oid(b""), b"").digest == Digest.of(b"")

    def test_no_reader_sees_a_blob_before_it_is_complete(
        self, store: BlobStore
    ) -> None:
        ingest = begin(store, WANT)
        ingest.write(DATA)

        assert not store.has(DIGEST)
        assert list(store.digests()) == []
        with pytest.raises(BlobNotFoundError):
            store.open(DIGEST)
        ingest.abort()

    def test_blocks_may_be_any_size_and_kind(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(b"")
        ingest.write(DATA[:1])
        ingest.write(memoryview(DATA)[1:7777])
        ingest.write(memoryview(bytearray(DATA))[7777:])

        assert ingest.complete().digest == DIGEST

    def test_an_aborted_ingest_is_resumed_where_it_was(self, store: BlobStore) -> None:
        first = begin(store, WANT)
        first.write(DATA[:5000])
        first.abort()
        assert store.partial_bytes(WANT) == 5000

        second = begin(store, WANT)
        assert second.offset == 5000
        second.write(DATA[5000:])

        assert second.complete().digest == DIGEST
        assert store.partial_bytes(WANT) == 0

    def test_a_resumed_plain_file_is_checked_from_its_first_byte(
        self, store: BlobStore
    ) -> None:
        first = begin(store, by_oid(DATA))
        first.write(DATA[:5000])
        first.abort()

        second = begin(store, by_oid(DATA))
        second.write(DATA[second.offset :])

        assert second.complete().git_oid == GitOid.of_blob(DATA)

    def test_restart_goes_back_to_the_first_byte(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(b"not what was wanted")
        ingest.restart()

        assert ingest.offset == 0
        ingest.write(DATA)
        assert ingest.complete().digest == DIGEST

    def test_wrong_bytes_are_refused_and_forgotten(self, store: BlobStore) -> None:
        """A digest mismatch raises, stores nothing, and leaves nothing to resume."""
        ingest = begin(store, WANT)
        ingest.write(DATA[:-1] + b"?")
        with pytest.raises(BlobCorruptError) as caught:
            ingest.complete()

        assert caught.value.want == WANT
        assert caught.value.got_size_bytes == len(DATA)
        assert not store.has(DIGEST)
        assert store.partial_bytes(WANT) == 0
        assert begin_and_abort(store, WANT) == 0

    def test_a_wrong_plain_file_is_refused(self, store: BlobStore) -> None:
        ingest = begin(store, by_oid(DATA))
        ingest.write(DATA[:-1] + b"?")

        with pytest.raises(BlobCorruptError):
            ingest.complete()
        assert list(store.digests()) == []

    def test_too_few_bytes_are_refused(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(DATA[:-1])

        with pytest.raises(BlobCorruptError):
            ingest.complete()
        assert not store.has(DIGEST)

    def test_a_byte_too_many_is_refused_as_it_comes(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(DATA)

        with pytest.raises(BlobCorruptError):
            ingest.write(b"!")
        assert begin_and_abort(store, WANT) == 0

    def test_what_is_held_is_not_ingested_again(self, store: BlobStore) -> None:
        fill(store, WANT, DATA)

        assert store.begin(WANT) == HeldBlob(DIGEST, len(DATA))

    def test_the_same_bytes_under_two_names_are_one_blob(
        self, store: BlobStore
    ) -> None:
        fill(store, WANT, DATA)
        fill(store, by_oid(DATA), DATA)

        assert list(store.digests()) == [DIGEST]
        assert read(store, DIGEST) == DATA

    def test_a_second_holder_waits_and_then_finds_it_held(
        self, store: BlobStore
    ) -> None:
        first = begin(store, WANT)
        found: list[object] = []
        second = threading.Thread(target=lambda: found.append(store.begin(WANT)))
        second.start()
        first.write(DATA)
        first.complete()
        second.join()

        assert found == [HeldBlob(DIGEST, len(DATA))]

    def test_a_second_holder_goes_on_where_the_first_let_go(
        self, store: BlobStore
    ) -> None:
        first = begin(store, WANT)
        offsets: list[int] = []
        second = threading.Thread(
            target=lambda: offsets.append(begin_and_abort(store, WANT))
        )
        second.start()
        first.write(DATA[:5000])
        first.abort()
        second.join()

        assert offsets == [5000]

    def test_different_blobs_do_not_wait_for_each_other(self, store: BlobStore) -> None:
        first, second = begin(store, WANT), begin(store, by_digest(b"other"))
        second.write(b"other")
        second.complete()
        first.write(DATA)
        first.complete()

        assert set(store.digests()) == {DIGEST, Digest.of(b"other")}

    def test_abort_after_complete_is_harmless(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(DATA)
        ingest.complete()
        ingest.abort()
        ingest.abort()

        assert store.has(DIGEST)

    def test_blocks_may_come_in_any_order(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        assert ingest.missing() == [(0, len(DATA))]
        ingest.write(DATA[9000:12_000], 9000)
        assert ingest.offset == 0
        ingest.write([DATA[:100], DATA[100:4000]], 0)
        assert ingest.offset == 4000
        assert ingest.missing() == [(4000, 9000), (12_000, len(DATA))]
        ingest.write(DATA[12_000:], 12_000)
        ingest.write(DATA[4000:9000], 4000)

        assert ingest.missing() == []
        assert ingest.complete().digest == DIGEST
        assert read(store, DIGEST) == DATA

    @given(
        data=st.binary(min_size=1, max_size=5000),
        cuts=st.lists(st.integers(0, 5000), max_size=12),
        shuffled=st.permutations(range(13)),
        between=st.lists(
            st.sampled_from(["", "checkpoint", "hash", "abort"]),
            min_size=13,
            max_size=13,
        ),
    )
    @settings(
        # One store for all examples, which leave nothing behind in it; and each
        # store that keeps this contract runs them for itself.
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ]
    )
    def test_whatever_the_order_and_the_breaks_the_bytes_are_whole(
        self,
        store: BlobStore,
        data: bytes,
        cuts: list[int],
        shuffled: list[int],
        between: list[str],
    ) -> None:
        want = by_digest(data)
        edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        parts = list(pairwise(edges))
        ingest = begin(store, want)
        for number in shuffled:
            if number >= len(parts):
                continue
            start, stop = parts[number]
            ingest.write(data[start:stop], start)
            if between[number] == "checkpoint":
                ingest.checkpoint()
            if between[number] == "hash":
                ingest.hash_ahead(700)
            if between[number] == "abort":
                before = ingest.missing()
                ingest.abort()
                ingest = begin(store, want)
                assert ingest.missing() == before

        held = ingest.verify()
        assert ingest.verified == held
        store.publish([ingest])
        assert read(store, held.digest) == data
        store.remove(held.digest)

    def test_zeros_are_bytes_like_any_other(self, store: BlobStore) -> None:
        """Also where a store leaves holes in the file for them."""
        data = bytes(70_000) + b"x" + bytes(200_000)
        ingest = begin(store, by_digest(data))
        ingest.write(data[150_000:], 150_000)
        ingest.abort()
        ingest = begin(store, by_digest(data))
        ingest.write(data[:150_000], 0)

        assert read(store, ingest.complete().digest) == data

    def test_several_threads_may_write_and_one_may_hash(self, store: BlobStore) -> None:
        data = Random(7).randbytes(2_000_000)
        ingest = begin(store, by_digest(data))
        parts = [(at, at + 10_000) for at in range(0, len(data), 10_000)]
        over = threading.Event()
        hashed: list[int] = []

        def write(mine: list[tuple[int, int]]) -> None:
            for start, stop in mine:
                ingest.write(data[start:stop], start)

        def hash_along() -> None:
            while not over.is_set():
                hashed.append(ingest.hash_ahead(64_000))

        threads = [
            threading.Thread(target=write, args=(parts[n::4],)) for n in range(4)
        ]
        hasher = threading.Thread(target=hash_along)
        for thread in (hasher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        over.set()
        hasher.join()

        assert sum(hashed) <= len(data)
        assert read(store, ingest.complete().digest) == data

    def test_hashing_ahead_stops_at_the_first_gap(self, store: BlobStore) -> None:
        data = bytes(range(256)) * 40_000  # too large to be hashed as it comes
        ingest = begin(store, by_digest(data))
        ingest.write(data[:5000], 0)
        ingest.write(data[6000:], 6000)

        assert ingest.hash_ahead(1000) == 1000
        assert ingest.hash_ahead(1 << 30) == 4000
        assert ingest.hash_ahead(1 << 30) == 0
        ingest.write(data[5000:6000], 5000)
        assert ingest.hash_ahead(1 << 30) == len(data) - 5000
        assert ingest.complete().digest == Digest.of(data)

    def test_an_aborted_ingest_is_resumed_with_its_gaps(self, store: BlobStore) -> None:
        first = begin(store, WANT)
        first.write(DATA[1000:2000], 1000)
        first.checkpoint()
        first.write(DATA[5000:6000], 5000)
        first.abort()
        assert store.partial_bytes(WANT) == 2000

        second = begin(store, WANT)
        gaps = [(0, 1000), (2000, 5000), (6000, len(DATA))]
        assert second.missing() == gaps
        for start, stop in gaps:
            second.write(DATA[start:stop], start)
        assert second.complete().digest == DIGEST

    def test_restart_forgets_the_gaps_too(self, store: BlobStore) -> None:
        first = begin(store, WANT)
        first.write(DATA[5000:6000], 5000)
        first.restart()
        assert first.missing() == [(0, len(DATA))]
        first.write(DATA[:10])
        first.abort()

        assert begin_and_abort(store, WANT) == 10

    def test_what_is_rejected_is_not_gone_on_with(self, store: BlobStore) -> None:
        ingest = begin(store, WANT)
        ingest.write(DATA[5000:6000], 5000)
        error = ingest.reject("a web page")

        assert "a web page" in str(error)
        assert error.want == WANT
        assert store.partial_bytes(WANT) == 0
        assert begin_and_abort(store, WANT) == 0

    def test_bytes_behind_the_end_are_refused_at_any_offset(
        self, store: BlobStore
    ) -> None:
        ingest = begin(store, WANT)
        with pytest.raises(BlobCorruptError):
            ingest.write(b"12", len(DATA) - 1)
        assert begin_and_abort(store, WANT) == 0

    def test_who_does_not_want_to_wait_is_told_that_somebody_has_it(
        self, store: BlobStore
    ) -> None:
        first = begin(store, WANT)
        assert store.begin(WANT, wait=False) is None
        first.write(DATA)
        first.complete()

        assert store.begin(WANT, wait=False) == HeldBlob(DIGEST, len(DATA))

    @pytest.mark.parametrize("count", [0, 1, 3, 100])
    def test_a_group_is_published_at_once(self, store: BlobStore, count: int) -> None:
        many = [b"%d" % n for n in range(count)]
        ingests = [begin(store, by_digest(data)) for data in many]
        for ingest, data in zip(ingests, many, strict=True):
            ingest.write(data)
            ingest.verify()
        assert list(store.digests()) == []
        store.publish(ingests)

        assert set(store.digests()) == {Digest.of(data) for data in many}
        for data in many:
            assert read(store, Digest.of(data)) == data
            assert store.begin(by_digest(data)) == HeldBlob(Digest.of(data), len(data))

    def test_a_group_may_have_one_blob_under_two_names(self, store: BlobStore) -> None:
        ingests = [begin(store, by_digest(DATA)), begin(store, by_oid(DATA))]
        for ingest in ingests:
            ingest.write(DATA)
            ingest.verify()
        store.publish(ingests)

        assert list(store.digests()) == [DIGEST]
        assert read(store, DIGEST) == DATA
        assert begin_and_abort(store, by_oid(DATA)) == 0, "nobody holds it"

    def test_has_compares_the_size_when_it_is_told(self, store: BlobStore) -> None:
        fill(store, WANT, DATA)

        assert store.has(DIGEST)
        assert store.has(DIGEST, len(DATA))
        assert not store.has(DIGEST, len(DATA) + 1)
        assert not store.has(Digest.of(b"never seen"))

    def test_an_open_blob_is_a_file_that_the_kernel_can_send(
        self, store: BlobStore
    ) -> None:
        fill(store, WANT, DATA)

        with store.open(DIGEST) as file:
            assert file.fileno() >= 0
            assert file.tell() == 0
            file.seek(100)
            assert file.read(5) == DATA[100:105]

    def test_a_removed_blob_is_gone(self, store: BlobStore) -> None:
        fill(store, WANT, DATA)

        assert store.remove(DIGEST) == len(DATA)
        assert not store.has(DIGEST)
        assert list(store.digests()) == []
        assert store.remove(DIGEST) == 0

    def test_a_reader_finishes_while_its_blob_is_removed(
        self, store: BlobStore
    ) -> None:
        fill(store, WANT, DATA)
        with store.open(DIGEST) as file:
            store.remove(DIGEST)

            assert file.read() == DATA

    def test_a_removed_blob_can_come_back(self, store: BlobStore) -> None:
        fill(store, WANT, DATA)
        store.remove(DIGEST)
        fill(store, WANT, DATA)

        assert read(store, DIGEST) == DATA

    def test_a_quarantined_blob_is_served_by_nobody_and_fetched_anew(
        self, store: BlobStore
    ) -> None:
        fill(store, WANT, DATA)
        store.quarantine(DIGEST)

        assert not store.has(DIGEST)
        with pytest.raises(BlobNotFoundError):
            store.open(DIGEST)
        assert begin_and_abort(store, WANT) == 0

    def test_quarantine_of_what_is_not_there_is_harmless(
        self, store: BlobStore
    ) -> None:
        store.quarantine(DIGEST)

    @pytest.mark.parametrize(
        "text",
        [
            "sha256:../../../etc/passwd",
            "sha256:" + "a" * 63,
            "sha256:" + "a" * 65,
            "sha256:" + "A" * 64,
            "../" * 21 + "a",
            "a" * 63 + "\n",
        ],
    )
    def test_no_digest_can_become_a_path(self, store: BlobStore, text: str) -> None:
        with pytest.raises(InvalidDigestError):
            store.open(Digest.parse(text))


def begin_and_abort(store: BlobStore, want: Descriptor) -> int:
    """The offset that an ingest would go on from."""
    ingest = begin(store, want)
    try:
        return ingest.offset
    finally:
        ingest.abort()
