"""Every form in which people name a repo, and what they get wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.errors import ExitCode
from hubsync.model.repo import (
    NAME_CHARS_MAX,
    InvalidRepoError,
    RepoArg,
    RepoId,
    RepoType,
    check_name,
    parse_repo,
)

UPSTREAMS = {
    "huggingface": "https://huggingface.co",
    "modelscope": "https://www.modelscope.cn",
    "inner": "http://mirror.example:8090",
}
MODEL, DATASET, SPACE = RepoType.MODEL, RepoType.DATASET, RepoType.SPACE
HF = "huggingface"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# text, type, name, upstream, revision, path
FORMS: list[tuple[str, RepoType, str, str | None, str | None, str | None]] = [
    ("org/name", MODEL, "org/name", None, None, None),
    ("  org/name\n", MODEL, "org/name", None, None, None),
    ("org/name@main", MODEL, "org/name", None, "main", None),
    (f"org/name@{COMMIT}", MODEL, "org/name", None, COMMIT, None),
    ("org/name@refs/pr/7", MODEL, "org/name", None, "refs/pr/7", None),
    ("org/name@feature/x", MODEL, "org/name", None, "feature/x", None),
    ("org/name@v1.0", MODEL, "org/name", None, "v1.0", None),
    ("gpt2", MODEL, "gpt2", None, None, None),
    ("gpt2@main", MODEL, "gpt2", None, "main", None),
    ("datasets/squad", DATASET, "squad", None, None, None),
    ("datasets/squad@main", DATASET, "squad", None, "main", None),
    ("models/org/name", MODEL, "org/name", None, None, None),
    ("datasets/org/name", DATASET, "org/name", None, None, None),
    ("spaces/org/name@v2", SPACE, "org/name", None, "v2", None),
    (
        "datasets/org/n@refs/convert/parquet",
        DATASET,
        "org/n",
        None,
        "refs/convert/parquet",
        None,
    ),
    ("huggingface:org/name", MODEL, "org/name", HF, None, None),
    ("huggingface:gpt2", MODEL, "gpt2", HF, None, None),
    ("huggingface:datasets/org/name@main", DATASET, "org/name", HF, "main", None),
    ("modelscope:org/name", MODEL, "org/name", "modelscope", None, None),
    ("inner:spaces/org/name", SPACE, "org/name", "inner", None, None),
    ("local:org/name", MODEL, "org/name", "local", None, None),
    ("local:datasets/org/name@v1", DATASET, "org/name", "local", "v1", None),
    ("hf://org/name", MODEL, "org/name", HF, None, None),
    ("hf://datasets/org/name@rev", DATASET, "org/name", HF, "rev", None),
    (
        "hf://datasets/org/name@rev/data/a.csv",
        DATASET,
        "org/name",
        HF,
        "rev",
        "data/a.csv",
    ),
    (
        "hf://org/name@refs/pr/1/a/b.txt",
        MODEL,
        "org/name",
        HF,
        "refs/pr/1",
        "a/b.txt",
    ),
    ("hf://org/name/a/b.txt", MODEL, "org/name", HF, None, "a/b.txt"),
    ("https://huggingface.co/gpt2", MODEL, "gpt2", HF, None, None),
    ("https://huggingface.co/org/name", MODEL, "org/name", HF, None, None),
    ("https://huggingface.co/org/name/", MODEL, "org/name", HF, None, None),
    ("http://huggingface.co/org/name", MODEL, "org/name", HF, None, None),
    ("https://HuggingFace.co/org/name", MODEL, "org/name", HF, None, None),
    ("https://hf.co/org/name", MODEL, "org/name", HF, None, None),
    ("https://www.huggingface.co/org/name", MODEL, "org/name", HF, None, None),
    ("https://huggingface.co/org/name.git", MODEL, "org/name", HF, None, None),
    ("https://huggingface.co/org/name?not=1#x", MODEL, "org/name", HF, None, None),
    ("https://user:tok@huggingface.co/org/name", MODEL, "org/name", HF, None, None),
    (
        "https://huggingface.co/datasets/org/name",
        DATASET,
        "org/name",
        HF,
        None,
        None,
    ),
    ("https://huggingface.co/spaces/org/name", SPACE, "org/name", HF, None, None),
    ("https://huggingface.co/datasets/squad", DATASET, "squad", HF, None, None),
    ("https://huggingface.co/org/name/tree/rev", MODEL, "org/name", HF, "rev", None),
    ("https://huggingface.co/gpt2/tree/main", MODEL, "gpt2", HF, "main", None),
    (
        "https://huggingface.co/datasets/squad/tree/main",
        DATASET,
        "squad",
        HF,
        "main",
        None,
    ),
    (
        "https://huggingface.co/org/name/tree/refs%2Fpr%2F3",
        MODEL,
        "org/name",
        HF,
        "refs/pr/3",
        None,
    ),
    (
        "https://huggingface.co/org/name/tree/main/onnx",
        MODEL,
        "org/name",
        HF,
        "main",
        None,
    ),
    (
        "https://huggingface.co/org/name/blob/main/a/config.json",
        MODEL,
        "org/name",
        HF,
        "main",
        "a/config.json",
    ),
    (
        "https://huggingface.co/org/name/resolve/main/a%20b.bin?download=true",
        MODEL,
        "org/name",
        HF,
        "main",
        "a b.bin",
    ),
    (
        "https://huggingface.co/org/name/raw/refs%2Fpr%2F3/README.md",
        MODEL,
        "org/name",
        HF,
        "refs/pr/3",
        "README.md",
    ),
    (
        f"https://huggingface.co/org/name/commit/{COMMIT}",
        MODEL,
        "org/name",
        HF,
        COMMIT,
        None,
    ),
    (
        "https://huggingface.co/org/name/commits/main",
        MODEL,
        "org/name",
        HF,
        "main",
        None,
    ),
    (
        "https://huggingface.co/org/name/discussions/4",
        MODEL,
        "org/name",
        HF,
        None,
        None,
    ),
    (
        "https://modelscope.cn/models/org/name",
        MODEL,
        "org/name",
        "modelscope",
        None,
        None,
    ),
    (
        "https://www.modelscope.cn/datasets/org/name",
        DATASET,
        "org/name",
        "modelscope",
        None,
        None,
    ),
    (
        "https://modelscope.cn/models/org/name/summary",
        MODEL,
        "org/name",
        "modelscope",
        None,
        None,
    ),
    ("http://mirror.example:8090/org/name", MODEL, "org/name", "inner", None, None),
    ("git@hf.co:org/name", MODEL, "org/name", HF, None, None),
    ("git@hf.co:org/name.git", MODEL, "org/name", HF, None, None),
    ("git@hf.co:datasets/org/name", DATASET, "org/name", HF, None, None),
    ("git@huggingface.co:gpt2", MODEL, "gpt2", HF, None, None),
]


@pytest.mark.parametrize(
    ("text", "kind", "name", "upstream", "revision", "path"),
    FORMS,
    ids=[form[0] for form in FORMS],
)
def test_every_form_people_paste_is_understood(
    text: str,
    kind: RepoType,
    name: str,
    upstream: str | None,
    revision: str | None,
    path: str | None,
) -> None:
    assert parse_repo(text, upstreams=UPSTREAMS) == RepoArg(
        kind, name, upstream, revision, path
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "/",
        "/org/name",
        "org/",
        "/name",
        "org//name",
        "a/b/c",
        "datasets/a/b/c",
        "datasets/",
        "org/name@",
        "@main",
        "../etc",
        "..",
        ".",
        "org/..",
        "org/.hidden",
        "org/-dash",
        "org/name.",
        "org/name-",
        "org/a--b",
        "org/a..b",
        "org/name.git",
        "org/na me",
        "org/näme",
        "org/name\x00",
        "org\\name",
        "o" * (NAME_CHARS_MAX + 1),
        "nowhere:org/name",
        "HUGGINGFACE:org/name",
        ":org/name",
        "huggingface:",
        "huggingface:datasets/",
        "hf://",
        "hf://datasets/",
        "ftp://huggingface.co/org/name",
        "file:///etc/passwd",
        "https://",
        "https://huggingface.co",
        "https://huggingface.co/",
        "https://huggingface.co/datasets/",
        "https://example.org/org/name",
        "https://huggingface.co.evil.example/org/name",
        "https://huggingface.co@evil.example/org/name",
        "git@hf.co",
        "git@hf.co:",
        "git@github.com:org/name",
        "https://[::1/org/name",
        "https://huggingface.co:99999/org/name",
    ],
)
def test_what_names_no_repo_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidRepoError) as caught:
        parse_repo(text, upstreams=UPSTREAMS)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint
    assert "org/name" in caught.value.hint


@pytest.mark.parametrize("kind", list(RepoType))
def test_type_says_what_a_bare_name_is(kind: RepoType) -> None:
    assert parse_repo("org/name@v1", repo_type=kind) == RepoArg(
        kind, "org/name", None, "v1"
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("datasets/org/name", DATASET),
        ("hf://spaces/org/name", SPACE),
        ("models/org/name", MODEL),
        ("https://huggingface.co/datasets/org/name/tree/main", DATASET),
    ],
)
def test_type_may_say_again_what_the_name_says(text: str, kind: RepoType) -> None:
    assert parse_repo(text, repo_type=kind).repo_type is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("datasets/org/name", MODEL),
        ("datasets/org/name", SPACE),
        ("spaces/org/name", DATASET),
        ("models/org/name", DATASET),
        ("huggingface:models/org/name", SPACE),
        ("https://huggingface.co/datasets/org/name", MODEL),
        ("https://modelscope.cn/models/org/name", DATASET),
        ("git@hf.co:spaces/org/name", MODEL),
    ],
)
def test_type_may_not_contradict_the_name(text: str, kind: RepoType) -> None:
    with pytest.raises(InvalidRepoError, match="--type says"):
        parse_repo(text, repo_type=kind, upstreams=UPSTREAMS)


def test_a_page_of_the_hub_means_the_mirror_configured_in_its_name() -> None:
    mirrored = {"huggingface": "https://hf-mirror.example"}
    arg = parse_repo("https://huggingface.co/org/name", upstreams=mirrored)
    assert arg.upstream == "huggingface"


def test_a_page_of_the_mirror_means_the_mirror() -> None:
    mirrored = {"huggingface": "https://hf-mirror.example"}
    arg = parse_repo("https://hf-mirror.example/org/name", upstreams=mirrored)
    assert arg.upstream == "huggingface"


def test_a_page_of_the_hub_is_refused_when_no_upstream_is_the_hub() -> None:
    with pytest.raises(InvalidRepoError, match="no upstream is configured"):
        parse_repo("https://huggingface.co/a/b", upstreams={"x": "http://x.example"})


def test_the_default_upstream_is_put_in_only_where_none_was_named() -> None:
    assert parse_repo("a/b").on("inner") == RepoId("inner", MODEL, "a/b")
    named = parse_repo("huggingface:a/b").on("inner")
    assert named == RepoId("huggingface", MODEL, "a/b")


SEGMENT = st.from_regex(
    r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,20}[A-Za-z0-9_])?", fullmatch=True
)
GOOD_SEGMENT = SEGMENT.filter(
    lambda text: "--" not in text and ".." not in text and not text.endswith(".git")
)
PLURALS = {"models", "datasets", "spaces"}
NAME = st.one_of(GOOD_SEGMENT, st.tuples(GOOD_SEGMENT, GOOD_SEGMENT).map("/".join))


@given(name=NAME.filter(lambda text: text.partition("/")[0] not in PLURALS))
def test_every_name_the_grammar_allows_is_understood_in_every_type(name: str) -> None:
    for kind in RepoType:
        repo = RepoId("huggingface", kind, check_name(name))
        assert parse_repo(str(repo)).on("other") == repo
        assert parse_repo(repo.path).on("huggingface") == repo


@given(
    first=NAME,
    second=NAME,
    one=st.sampled_from(RepoType),
    two=st.sampled_from(RepoType),
)
def test_two_repos_never_share_a_folder(
    first: str, second: str, one: RepoType, two: RepoType
) -> None:
    a, b = RepoId("huggingface", one, first), RepoId("huggingface", two, second)
    assert (a.folder == b.folder) == (a == b)
    assert "/" not in a.folder


@given(text=st.text(max_size=120))
def test_any_text_is_understood_or_refused_and_nothing_else(text: str) -> None:
    try:
        arg = parse_repo(text, upstreams=UPSTREAMS)
    except InvalidRepoError:
        return
    check_name(arg.name)


@given(rest=st.text(alphabet="abc/@:.-%2F[]?#\\ ", max_size=40))
@pytest.mark.parametrize("start", ["https://", "hf://", "git@", "https://hf.co/", "x:"])
def test_any_address_is_understood_or_refused_and_nothing_else(
    start: str, rest: str
) -> None:
    try:
        arg = parse_repo(start + rest, upstreams=UPSTREAMS)
    except InvalidRepoError:
        return
    check_name(arg.name)


@pytest.mark.parametrize("upstream", ["", "Upper", "9lives", "a b", "a/b", "x" * 33])
def test_an_upstream_has_a_plain_name(upstream: str) -> None:
    with pytest.raises(InvalidRepoError):
        RepoId(upstream, MODEL, "org/name")


def test_a_repo_knows_its_owner_its_path_and_its_folder() -> None:
    repo = RepoId("huggingface", DATASET, "org/name")
    assert (repo.owner, repo.path) == ("org", "datasets/org/name")
    assert repo.folder == "datasets--org--name"
    assert str(repo) == "huggingface:datasets/org/name"
    alone = RepoId("huggingface", MODEL, "gpt2")
    assert (alone.owner, alone.path, alone.folder) == (None, "gpt2", "models--gpt2")
