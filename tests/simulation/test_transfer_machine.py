"""Whatever a hub does and whenever a pull dies: the right bytes, or none."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from hubsync.model.errors import HubsyncError
from hubsync.ports.blobs import HeldBlob, Ingest
from hubsync.ports.progress import SilentProgress
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs
from hubsync.transfer.engine import Engine
from hubsync.transfer.fetch import Fetch, FetchReport
from hubsync.transfer.options import TransferOptions
from tests.testhub import Fault, HubRepo, Lfs, Seen, TestHub, Virtual
from tests.unit.transfer.fetching import fetch_of

RETRIES = 2
QUICK = TransferOptions(
    connect_timeout_s=2.0,
    read_timeout_s=0.2,
    rate_window_s=0.3,
    rate_min_bytes_per_s=1000,
    backoff_base_s=0.001,
    backoff_max_s=0.002,
    rate_limit_wait_max_s=0.5,
    retries_max=RETRIES,
)
# The largest is hashed behind the write head, the others as they are written.
SIZES = (1, 999, 4096, 65_537, 200_001, 500_000, 1_000_003, 9_000_001)
FILES = {f"{size}.bin": Virtual(size, seed=size) for size in SIZES}
# These give wrong bytes that look right, so a partial may hold some.
LYING = frozenset({"flip", "shifted", "longer", "ignore_range", "etag_changes"})

VARIANTS = ("", "early", "other_end", "other_total", "backwards", "missing", "nonsense")
part = st.sampled_from([None, None, "first", "later"])
after = st.sampled_from([0, 0, 0, 1, 2, 5])
few = st.integers(1, 3)
at = st.sampled_from([0, 1, 100, 5000, 70_000, 250_000])
faults = st.one_of(
    # Always, for there is one part in many that has the byte; or the first time.
    st.builds(
        Fault,
        st.just("flip"),
        role=st.just("cdn"),
        at=st.integers(0, 70_000),
        times=st.sampled_from([-1, 1, 10]),
    ),
    st.builds(
        Fault,
        st.sampled_from(
            ["truncate", "shifted", "longer", "shorter", "no_length", "truncate"]
        ),
        role=st.just("cdn"),
        part=part,
        after=after,
        times=few,
        at=at,
    ),
    st.builds(
        Fault,
        st.sampled_from(
            ["ignore_range", "unsatisfiable", "etag_changes", "gzip", "expire", "reset"]
        ),
        role=st.just("cdn"),
        part=part,
        after=after,
        times=few,
    ),
    st.builds(
        Fault,
        st.just("wrong_range"),
        role=st.just("cdn"),
        after=after,
        times=few,
        variant=st.sampled_from(VARIANTS),
    ),
    st.builds(
        Fault,
        st.sampled_from(["status"]),
        role=st.sampled_from(["hub", "cdn"]),
        after=after,
        times=few,
        status=st.sampled_from([400, 403, 404, 408, 416, 429, 500, 503]),
    ),
    st.builds(
        Fault,
        st.sampled_from(["stall", "silence", "html"]),
        role=st.just("cdn"),
        after=after,
        at=at,
    ),
    st.builds(
        Fault,
        st.just("redirect"),
        role=st.sampled_from(["hub", "cdn"]),
        after=after,
        location=st.sampled_from(["/around", "", "http://127.0.0.1:9/x", "ftp://x/"]),
    ),
)


class TransferMachine(RuleBasedStateMachine):
    """One store, one hub, many pulls of the same files."""

    hub: TestHub
    repo: HubRepo

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hubsync-machine-"))
        self.store = LocalBlobs(StoreRoot.open(self.folder / "s", create=True))
        self.items: list[Fetch] = []
        self.lied = False
        self.checked: set[str] = set()

    @initialize(names=st.sets(st.sampled_from(sorted(FILES)), min_size=1, max_size=4))
    def choose(self, names: set[str]) -> None:
        self.items = [fetch_of(self.hub, self.repo, name) for name in sorted(names)]

    @rule(requests=st.none() | st.integers(1, 8), size=st.none() | st.integers(1, 10))
    def use_up_addresses(self, requests: int | None, size: int | None) -> None:
        self.hub.url_requests_max = requests
        self.hub.url_bytes_max = size and size * 200_000

    @rule()
    def tell_the_truth(self) -> None:
        self._be_honest()

    @rule(
        parts=st.integers(1, 30),
        connections=st.integers(1, 12),
        block=st.sampled_from([1000, 65_536, 524_288]),
        killed_at=st.sampled_from([None, None, 1, 2, 3, 5, 8, 13, 21]),
        orders=st.lists(faults, max_size=5),
    )
    def pull(
        self,
        parts: int,
        connections: int,
        block: int,
        killed_at: int | None,
        orders: list[Fault],
    ) -> None:
        self.lied = self.lied or any(one.kind in LYING for one in orders)
        for one in orders:
            self.hub.faults.add(replace(one))
        largest = max(item.want.size_bytes for item in self.items)
        options = replace(
            QUICK,
            part_bytes_max=max(largest // parts, 4096),
            connections_max=connections,
            connections_per_file_max=max(connections // 2, 1),
            block_bytes=block,
        )
        self.hub.log.clear()
        try:
            asyncio.run(self._fetch(options, killed_at))
        except HubsyncError as error:
            event(type(error).__name__)
        except asyncio.CancelledError:
            event("killed")
        else:
            event("done")
            assert self._held() == {item.want.digest for item in self.items}
            self.what_is_there_is_right()
            self._lose_everything()
        # Each failure in a row costs a request for each lane at most.
        most = len(self.items) * (RETRIES + 2) * (parts + 60) * 3
        assert len(self.hub.requests) <= most + connections, "no storm"

    @invariant()
    def what_is_there_is_right(self) -> None:
        by_digest = {one.sha256: one for one in FILES.values()}
        for digest in self.store.digests():
            path = self.store.path(digest)
            assert digest.hex in by_digest, "under a name that nobody asked for"
            assert path.stat().st_size == by_digest[digest.hex].size
            if digest.hex not in self.checked:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                assert found == digest.hex
            self.checked.add(digest.hex)

    def teardown(self) -> None:
        try:
            self._end_well()
        finally:
            self._be_honest()
            shutil.rmtree(self.folder)

    def _end_well(self) -> None:
        """Once the hub is honest, what is missing arrives, and nothing else."""
        self._be_honest()
        held = self._held()
        wanted = [item.want for item in self.items if item.want.digest not in held]
        missing = sum(
            want.size_bytes - self.store.partial_bytes(want) for want in wanted
        )
        again = sum(want.size_bytes for want in wanted)
        report = asyncio.run(self._fetch(replace(QUICK, read_timeout_s=5.0), None))
        assert self._held() == {item.want.digest for item in self.items}
        self.what_is_there_is_right()
        assert report is not None
        # A partial with wrong bytes in it is found out at its end, and fetched anew.
        assert report.bytes_fetched <= missing + (again if self.lied else 0)

    def _lose_everything(self) -> None:
        for digest in list(self.store.digests()):
            self.store.remove(digest)
        self.checked.clear()

    def _be_honest(self) -> None:
        self.hub.faults.clear()
        self.hub.url_requests_max = self.hub.url_bytes_max = None
        self.hub.hooks.clear()

    def _held(self) -> set[object]:
        return set(self.store.digests())

    async def _fetch(
        self, options: TransferOptions, killed_at: int | None
    ) -> FetchReport:
        loop, seen = asyncio.get_running_loop(), 0

        def count(_: Seen) -> None:
            nonlocal seen
            seen += 1
            if seen == killed_at:
                loop.call_soon_threadsafe(pulling.cancel)

        async with Engine(self.store, options, SilentProgress()) as engine:
            pulling = asyncio.ensure_future(engine.fetch_all(self.items, self._publish))
            self.hub.hooks.append(count)
            try:
                return await pulling
            finally:
                self.hub.hooks.remove(count)

    def _publish(self, group: Sequence[Ingest | HeldBlob]) -> None:
        self.store.publish([one for one in group if not isinstance(one, HeldBlob)])


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestHub]:
    with TestHub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/machine")
    repo.commit({name: Lfs(content) for name, content in FILES.items()})
    return repo


def test_a_pull_from_a_lying_hub_gives_the_right_bytes_or_none(
    hub: TestHub, repo: HubRepo
) -> None:
    TransferMachine.hub, TransferMachine.repo = hub, repo
    run_state_machine_as_test(
        TransferMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
