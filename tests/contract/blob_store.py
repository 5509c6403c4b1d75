"""What every `BlobStore` promises.  Subclass it and give a ``store`` fixture."""

import threading

import pytest

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
