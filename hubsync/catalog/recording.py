"""What the catalog says of a repo, written down in the store's own records."""

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, record_of
from hubsync.model.record import RepoRecord
from hubsync.ports.records import Records


def write_repo(catalog: Catalog, records: Records, row: RepoRow) -> None:
    """Write down what the catalog says of the repo now, if that has changed."""

    def read() -> RepoRecord:
        now = catalog.find_repo(row.repo)
        if now is None or now.id != row.id or now.repo != row.repo:
            now = row  # renamed beside us, by somebody who writes after us
        return record_of(now, catalog.refs(row), catalog.commit_order(row))

    records.write_repo(row.repo, read)
    for former in row.names[1:]:
        records.absorb(row.repo, former, frozenset(catalog.commit_order(row)))
