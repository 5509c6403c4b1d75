"""Whatever is asked of the newer routes: an answer, no 500, no traceback."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.serve import test_listing, test_parquet, test_registry
from tests.unit.serve.mirror import Live, Mirror, serving


@pytest.fixture(scope="module")
def all_of_it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    for module in (test_listing, test_parquet, test_registry):
        module.fill(mirror)
    with serving(mirror) as live:
        yield live
    mirror.close()


REPOS = st.sampled_from(
    ["acme/tiny-GGUF", "acme/own", "acme/converted", "acme/seeing", "a/d", "a", "A/D"]
)
JUNK = st.text(max_size=20).map(lambda text: quote(text, safe="/"))
WORD = JUNK | st.sampled_from(
    ["latest", "Q8_0", "default", "train", "0.parquet", "main", "0" * 40,
     f"sha256:{'0' * 64}", "..", "%2e%2e", "%00", "%ff", "refs%2Fconvert%2Fparquet"]
)  # fmt: skip
FORMS = st.sampled_from(
    [
        "/v2/{repo}/manifests/{a}", "/v2/{repo}/blobs/{a}", "/v2/{a}/{b}",
        "/v2/{repo}/{a}/{b}", "/api/datasets/{repo}/parquet/{a}/{b}",
        "/api/datasets/{repo}/parquet/{a}/{b}/{c}",
        "/parquet?dataset={repo}&config={a}", "/splits?dataset={a}",
        "/splits?dataset={repo}&{a}={b}", "/is-valid?dataset={a}",
        "/api/resolve-cache/models/{repo}/{a}/{b}", "/api/resolve-cache/{a}/{b}/{c}",
        "/api/models/{repo}/discussions?{a}={b}", "/api/models?expand={a}",
        "/api/models?num_parameters={a}", "/api/models?num_parameters=min:{a},max:{b}",
        "/api/models?cursor={a}&limit=1", "/api/datasets?{a}={b}&full={c}",
        "/api/models?sort=likes&cursor={a}", "/api/models/{repo}?expand={a}&expand={b}",
    ]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(FORMS, REPOS, WORD, WORD, WORD, st.sampled_from(["GET", "HEAD"]))
def test_no_target_breaks_the_server(
    all_of_it: Live, form: str, repo: str, a: str, b: str, c: str, method: str
) -> None:
    target = form.format(repo=repo, a=a, b=b, c=c)
    answer = all_of_it.ask(target, method, {"User-Agent": "llama-cpp"})
    assert answer.status < 500, target
    assert not any(one.exc_info for one in all_of_it.log)
