"""Tokens: found by their digest alone, and nothing more of them is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.tokens import TokenExistsError, TokenGrant
from hubsync.model.token import digest_of, is_token, is_token_name, new_token
from tests.migration.test_drift import look

SOON = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
GRANT = TokenGrant(("acme/*", "datasets/acme/*"), SOON, 50_000_000, 600)


def test_a_token_is_found_by_its_digest_with_all_that_it_grants(
    catalog: Catalog,
) -> None:
    token = new_token()
    catalog.add_token("ci", digest_of(token), GRANT)
    catalog.add_token("other", digest_of(new_token()), TokenGrant())
    row = catalog.find_token(digest_of(token))
    assert row is not None
    assert (row.name, row.grant) == ("ci", GRANT)
    assert [one.name for one in catalog.tokens()] == ["ci", "other"]
    assert catalog.tokens()[0] == row
    assert catalog.tokens()[1].grant == TokenGrant(("*",), None, None, None)


def test_what_agrees_in_the_beginning_only_is_not_found(catalog: Catalog) -> None:
    digest = digest_of(new_token())
    catalog.add_token("ci", digest, GRANT)
    other = digest[:16] + digest_of("something else")[16:]
    assert catalog.find_token(other) is None
    catalog.add_token("clash", other, GRANT)
    found = [catalog.find_token(one) for one in (digest, other)]
    assert [one.name for one in found if one] == ["ci", "clash"]


def test_a_revoked_token_is_gone_and_its_name_free(catalog: Catalog) -> None:
    digest = digest_of(new_token())
    catalog.add_token("ci", digest, GRANT)
    with pytest.raises(TokenExistsError, match="ci"):
        catalog.add_token("ci", digest_of(new_token()), GRANT)
    assert catalog.revoke_token("ci")
    assert not catalog.revoke_token("ci")
    assert catalog.find_token(digest) is None
    catalog.add_token("ci", digest_of(new_token()), GRANT)


def test_a_token_is_valid_until_it_expires(catalog: Catalog) -> None:
    catalog.add_token("ci", digest_of(new_token()), GRANT)
    (row,) = catalog.tokens()
    assert row.is_valid_at(SOON - timedelta(seconds=1))
    assert not row.is_valid_at(SOON)


def test_s37_the_catalog_has_no_token_in_it(catalog: Catalog, catalog_url: str) -> None:
    """S37: who steals the catalog has no way in."""
    token = new_token()
    catalog.add_token("ci", digest_of(token), GRANT)

    def everything(connection: object) -> str:
        return str(connection.exec_driver_sql("SELECT * FROM tokens").all())  # type: ignore[attr-defined]

    kept = look(catalog_url, everything)
    assert digest_of(token) in kept
    assert token[3:] not in kept
    assert token[3:20] not in kept


def test_tokens_are_long_and_never_the_same() -> None:
    made = {new_token() for _ in range(1000)}
    assert len(made) == 1000
    assert all(is_token(one) and len(one) == 46 for one in made)
    assert not is_token("hs_short")
    assert not is_token("hf_" + "a" * 43)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\n", "a" * 65, "ä", "a/b"])
def test_names_of_tokens_are_plain(name: str) -> None:
    assert not is_token_name(name)
    assert is_token_name("ci-2@build.example")
