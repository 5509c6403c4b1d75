"""The configuration: found, merged, and refused so that it can be mended."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from hubsync.config.load import Loaded, example_text, load
from hubsync.config.schema import (
    CatalogSettings,
    DaemonSettings,
    ServeSettings,
    Settings,
    StoreSettings,
    TransferSettings,
    UpstreamSettings,
)
from hubsync.config.section import Section
from hubsync.model.errors import ExitCode, UsageError


@pytest.fixture(autouse=True)
def _nothing_found_by_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def read(
    tmp_path: Path, text: str, environ: Mapping[str, str] | None = None
) -> Settings:
    return read_whole(tmp_path, text, environ).settings


def read_whole(
    tmp_path: Path, text: str, environ: Mapping[str, str] | None = None
) -> Loaded:
    file = tmp_path / "given.toml"
    file.write_text(text, "utf-8")
    return load(file, environ=_env(tmp_path, environ))


def _env(tmp_path: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), **(more or {})}


def refusal(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, environ)
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def test_nothing_has_to_be_configured(tmp_path: Path) -> None:
    loaded = load(environ=_env(tmp_path))
    assert loaded.file is None
    assert loaded.settings.store.root == tmp_path / "data" / "hubsync"
    assert loaded.settings.default_upstream == "huggingface"
    url = loaded.settings.catalog_url
    assert url == f"sqlite:///{tmp_path}/data/hubsync/catalog.db"


@pytest.mark.parametrize(
    ("text", "line", "key", "nearest"),
    [
        ("\n[transfer]\nretrys = 3\n", 3, "transfer.retrys", "retries"),
        ("[store]\nreserv = '1GiB'\n", 2, "store.reserv", "reserve"),
        ("# a\n[serve]\nhost = 'x'\nprot = 1\n", 4, "serve.prot", "port"),
        ("[stroe]\nroot = '/x'\n", 1, "stroe", "store"),
        (
            "[upstreams.huggingface]\nhub = 'huggingface'\nend_point = 'x'\n",
            3,
            "upstreams.huggingface.end_point",
            "endpoint",
        ),
        ("[transfer]\n'retrys' = 3\n", 2, "transfer.retrys", "retries"),
        ("transfer.retrys = 3\n", 1, "transfer.retrys", "retries"),
    ],
)
def test_an_unknown_key_names_file_line_and_the_nearest_known_one(
    tmp_path: Path, text: str, line: int, key: str, nearest: str
) -> None:
    said = refusal(tmp_path, text)
    assert f"{tmp_path / 'given.toml'}:{line}: " in said
    assert f"unknown key {key} " in said
    assert f"did you mean {nearest}?" in said


def test_an_unknown_key_like_no_other_lists_the_known_ones(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[serve]\nzzz = 1\n")
    assert "known here: host, port, base_url" in said


def test_a_secret_does_not_belong_into_the_file(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[upstreams.huggingface]\ntoken = 'hf_secret'\n")
    assert "token_env" in said or "token_file" in said
    assert "hf_secret" not in said


@pytest.mark.parametrize(
    ("text", "line", "key", "value", "allowed"),
    [
        ("[store]\nreserve = '20 apples'\n", 2, "store.reserve", "20 apples", "MiB"),
        ("[store]\nreserve = '-1'\n", 2, "store.reserve", "-1", "MiB"),
        ("[transfer]\nrate_limit = 'fast'\n", 2, "transfer.rate_limit", "fast", "MB"),
        ("[transfer]\nrate_limit = 0\n", 2, "transfer.rate_limit", "0", "greater"),
        ("[transfer]\nread_timeout = 'soon'\n", 2, "read_timeout", "soon", "6h"),
        ("[transfer]\nread_timeout = 30\n", 2, "read_timeout", "30", "30s, 30m"),
        ("[store]\ntrash_keep = 7\n", 2, "store.trash_keep", "7", "7h, 7d"),
        ("[transfer]\nread_timeout = '0s'\n", 2, "read_timeout", "0s", "greater"),
        ("[transfer]\nmax_connections = 257\n", 2, "max_connections", "257", "256"),
        ("[transfer]\nmax_connections = 0\n", 2, "max_connections", "0", "1"),
        ("[serve]\nport = 70000\n", 2, "serve.port", "70000", "65535"),
        ("[serve]\nport = 'http'\n", 2, "serve.port", "http", "integer"),
        (
            "[store]\n\nviews = ['huggingface', 'x']\n",
            3,
            "store.views",
            "x",
            "huggingface",
        ),
        (
            "[upstreams.a]\nendpoint = 'huggingface.co'\n",
            2,
            "upstreams.a.endpoint",
            "huggingface.co",
            "https://",
        ),
        (
            "[upstreams.a]\nhub = 'gitlab'\n",
            2,
            "upstreams.a.hub",
            "gitlab",
            "huggingface",
        ),
        ("store = 3\n", 1, "store", "3", ""),
    ],
)
def test_a_bad_value_names_file_line_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, key: str, value: str, allowed: str
) -> None:
    said = refusal(tmp_path, text)
    for fact in (f"given.toml:{line}: ", key, value, allowed):
        assert fact in said


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[serve]\nport = -1\nhots = 'x'\n[store]\nrot = '/x'\n")
    for line in (2, 3, 5):
        assert f"given.toml:{line}: " in said


def test_what_is_no_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[store\n")
    assert "given.toml" in said
    assert "line 1" in said


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "x.toml", environ=_env(tmp_path))


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_file_that_is_named_must_be_there(tmp_path: Path, how: str) -> None:
    gone = tmp_path / "gone.toml"
    with pytest.raises(UsageError, match="no configuration file"):
        if how == "argument":
            load(gone, environ=_env(tmp_path))
        else:
            load(environ=_env(tmp_path, {"HUBSYNC_CONFIG": str(gone)}))


def test_files_are_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    argument, named = tmp_path / "argument.toml", tmp_path / "named.toml"
    here, home = tmp_path / "hubsync.toml", tmp_path / "xdg/hubsync/config.toml"
    home.parent.mkdir(parents=True)
    for number, file in enumerate((argument, named, here, home), 1):
        file.write_text(f"[serve]\nport = {number}\n")
    env = _env(tmp_path, {"HUBSYNC_CONFIG": str(named)})
    assert load(argument, environ=env).settings.serve.port == 1
    assert load(environ=env).settings.serve.port == 2
    del env["HUBSYNC_CONFIG"]
    assert load(environ=env).settings.serve.port == 3
    here.unlink()
    assert load(environ=env).settings.serve.port == 4


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    text = "[transfer]\nrate_limit = '1MB/s'\nretries = 1\n"
    env = {
        "HUBSYNC_TRANSFER__RATE_LIMIT": "50MB/s",
        "HUBSYNC_SERVE__PORT": "1234",
        "HUBSYNC_UPSTREAMS__INNER__ENDPOINT": "http://mirror.example/",
    }
    settings = read(tmp_path, text, env)
    assert settings.transfer.rate_limit == 50_000_000
    assert settings.transfer.retries == 1
    assert settings.serve.port == 1234
    assert settings.upstreams["inner"].endpoint == "http://mirror.example"


LISTS = [
    ("store", "views"),
    ("serve", "allow"),
    ("serve", "deny"),
    ("serve", "trusted_proxies"),
]


def test_every_list_is_known_to_this_test() -> None:
    found = [
        (section, key)
        for section, outer in Settings.model_fields.items()
        if isinstance(outer.annotation, type)
        for key, field in getattr(outer.annotation, "model_fields", {}).items()
        if isinstance(field.get_default(call_default_factory=True), tuple)
    ]
    assert found == LISTS


@pytest.mark.parametrize(("section", "key"), LISTS)
def test_a_list_is_set_by_the_environment(
    tmp_path: Path, section: str, key: str
) -> None:
    item = "huggingface" if key == "views" else "org/*"
    forms = {
        item: (item,),
        f"{item},{item}": (item, item),
        f" {item} , {item}, ": (item, item),
        f'["{item}", "{item}"]': (item, item),
        "[]": (),
        "": (),
    }
    for text, items in forms.items():
        env = {f"HUBSYNC_{section}__{key}".upper(): text}
        settings = read(tmp_path, f"[{section}]\n{key} = ['in the file']\n", env)
        assert getattr(getattr(settings, section), key) == items


@pytest.mark.parametrize("text", ['["a", 1]', '["a"', "[a]", "[ab]*/*", '["a"],b'])
def test_a_list_of_the_environment_that_is_none_names_the_variable(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(UsageError, match="HUBSYNC_SERVE__ALLOW") as caught:
        read(tmp_path, "", {"HUBSYNC_SERVE__ALLOW": text})
    assert repr(text) in str(caught.value)
    assert "a,b" in str(caught.value.hint)


def test_a_bad_item_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    env = {"HUBSYNC_STORE__VIEWS": "huggingface,gitlab"}
    said = refusal(tmp_path, "[store]\nviews = []\n", env)
    assert "environment HUBSYNC_STORE__VIEWS: store.views.1 = 'gitlab'" in said
    assert "given.toml" not in said


def test_a_list_in_the_file_is_a_list(tmp_path: Path) -> None:
    assert "serve.allow" in refusal(tmp_path, "[serve]\nallow = 'org/*,x/*'\n")


def test_a_bad_value_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    said = refusal(tmp_path, "", {"HUBSYNC_SERVE__PORT": "many"})
    assert "HUBSYNC_SERVE__PORT" in said
    assert "many" in said


def test_an_unknown_key_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    said = refusal(tmp_path, "", {"HUBSYNC_SERVE__PROT": "1"})
    assert "HUBSYNC_SERVE__PROT" in said
    assert "did you mean port?" in said


def test_an_unknown_section_of_the_environment_is_not_blamed_on_the_file(
    tmp_path: Path,
) -> None:
    env = {"HUBSYNC_TRANSFR__RETRIES": "1"}
    said = refusal(tmp_path, "[serve]\nport = 1\n", env)
    assert "environment HUBSYNC_TRANSFR__RETRIES: unknown key transfr " in said
    assert "did you mean transfer?" in said
    assert "given.toml" not in said


def test_one_underscore_in_place_of_two_is_not_ignored(tmp_path: Path) -> None:
    env = {"HUBSYNC_TRANSFER_RATE_LIMIT": "1MB/s"}
    with pytest.raises(UsageError, match="HUBSYNC_TRANSFER_RATE_LIMIT") as caught:
        read(tmp_path, "", env)
    assert "HUBSYNC_TRANSFER__RATE_LIMIT" in str(caught.value.hint)


def test_variables_that_a_cluster_sets_for_its_services_are_no_keys(
    tmp_path: Path,
) -> None:
    env = {
        "HUBSYNC_SERVE_PORT": "tcp://10.0.0.1:8090",
        "HUBSYNC_SERVE_SERVICE_HOST": "10.0.0.1",
        "HUBSYNC_PORT_8090_TCP_ADDR": "10.0.0.1",
    }
    assert read(tmp_path, "", env).serve.port == 8090


def test_a_variable_that_treats_a_value_as_a_table_is_refused(tmp_path: Path) -> None:
    env = {"HUBSYNC_SERVE__PORT": "2", "HUBSYNC_SERVE__PORT__X": "1"}
    said = refusal(tmp_path, "", env)
    assert "port is not a table" in said
    assert "environment HUBSYNC_SERVE__PORT__X" in said


def test_the_first_upstream_of_the_file_is_the_default(tmp_path: Path) -> None:
    text = "[upstreams.b]\n[upstreams.a]\n"
    assert read(tmp_path, text).default_upstream == "b"


def test_local_is_no_name_for_an_upstream(tmp_path: Path) -> None:
    said = refusal(tmp_path, "[upstreams.local]\nendpoint = 'http://x.example'\n")
    assert "hubsync add" in said


@pytest.mark.parametrize("name", ["Upper", "with space", "a/b", "", "a:b"])
def test_an_upstream_must_be_nameable_before_a_colon(tmp_path: Path, name: str) -> None:
    """Refused when it is configured, not at the first pull."""
    said = refusal(tmp_path, f'[upstreams."{name}"]\n')
    assert "given.toml" in said


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("", "https://mirror.example"),
        ("[upstreams.huggingface]\ntoken_env = 'T'\n", "https://mirror.example"),
        (
            "[upstreams.huggingface]\nendpoint = 'https://huggingface.co'\n",
            "https://huggingface.co",
        ),
        ("[upstreams.huggingface]\nendpoint = 'http://x'\n", "http://x"),
    ],
)
def test_hf_endpoint_counts_only_where_no_endpoint_is_set(
    tmp_path: Path, text: str, endpoint: str
) -> None:
    settings = read(tmp_path, text, {"HF_ENDPOINT": "https://mirror.example/"})
    assert settings.upstreams["huggingface"].endpoint == endpoint


def test_our_own_variable_wins_over_hf_endpoint(tmp_path: Path) -> None:
    env = {
        "HF_ENDPOINT": "https://theirs.example",
        "HUBSYNC_UPSTREAMS__HUGGINGFACE__ENDPOINT": "https://ours.example",
    }
    upstreams = read(tmp_path, "", env).upstreams
    assert upstreams["huggingface"].endpoint == "https://ours.example"


def test_hf_endpoint_adds_no_upstream_that_was_not_configured(tmp_path: Path) -> None:
    text = "[upstreams.inner]\nendpoint = 'http://inner.example'\n"
    settings = read(tmp_path, text, {"HF_ENDPOINT": "https://mirror.example"})
    assert list(settings.upstreams) == ["inner"]


def test_a_bad_hf_endpoint_is_refused_by_its_name(tmp_path: Path) -> None:
    assert "HF_ENDPOINT" in refusal(tmp_path, "", {"HF_ENDPOINT": "mirror.example"})


def test_root_on_the_command_line_wins_over_everything(tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text("[store]\nroot = '/from/file'\n")
    env = _env(tmp_path, {"HUBSYNC_STORE__ROOT": "/from/environment"})
    assert load(file, environ=env).settings.store.root == Path("/from/environment")
    loaded = load(file, root=Path("/from/option"), environ=env)
    assert loaded.settings.store.root == Path("/from/option")
    assert loaded.settings.catalog_url == "sqlite:////from/option/catalog.db"
    assert loaded.origins["store.root"] == "--root or HUBSYNC_ROOT"


def test_a_root_is_made_absolute(tmp_path: Path) -> None:
    assert load(root=Path("x"), environ=_env(tmp_path)).settings.store.root == (
        tmp_path / "x"
    )
    home = read(tmp_path, "[store]\nroot = '~/store'\n").store.root
    assert home == Path.home() / "store"


def test_where_each_value_came_from_is_known(tmp_path: Path) -> None:
    loaded = read_whole(
        tmp_path, "[serve]\nport = 1\n", {"HUBSYNC_TRANSFER__RETRIES": "2"}
    )
    assert loaded.origins["serve.port"] == str(tmp_path / "given.toml")
    assert "HUBSYNC_TRANSFER__RETRIES" in loaded.origins["transfer.retries"]
    assert "serve.host" not in loaded.origins


def test_an_empty_list_of_views_keeps_none(tmp_path: Path) -> None:
    assert read(tmp_path, "[store]\nviews = []\n").store.views == ()


def test_settings_do_not_change_after_they_are_read(tmp_path: Path) -> None:
    settings = read(tmp_path, "")
    with pytest.raises(ValueError, match="frozen"):
        settings.serve.port = 1


@pytest.mark.parametrize(
    "url",
    ["mirror:80/x?y", "mirror", "http://", "ftp://mirror", "http://mirror/hf",
     "http://mirror?x", "http://mirror#x", "https://user@mirror", "http://m:99999",
     "http://m:0", "http://m:", "http://a b", "http://[::1", "http://m\\n"],
)  # fmt: skip
def test_a_base_url_that_no_client_could_use_is_refused(
    tmp_path: Path, url: str
) -> None:
    said = refusal(tmp_path, f'[serve]\nbase_url = "{url}"\n')
    assert "given.toml:2: serve.base_url = " in said


@pytest.mark.parametrize(
    "url", ["http://mirror", "https://m.example:8443", "http://[fd00::1]:80"]
)
def test_a_base_url_has_no_slash_at_its_end(tmp_path: Path, url: str) -> None:
    for given in (url, f"{url}/"):
        settings = read(tmp_path, f'[serve]\nbase_url = "{given}"\n')
        assert settings.serve.base_url == url


NO_SWITCHES = [
    f"{section}.{key}"
    for section, model in Settings.model_fields.items()
    if section not in ("upstreams", "mirrors")
    for key, field in model.default_factory().__class__.model_fields.items()  # type: ignore[call-arg, misc]
    if field.annotation is not bool
]


@pytest.mark.parametrize("dotted", [*NO_SWITCHES, "upstreams.huggingface.endpoint"])
def test_true_is_no_number(tmp_path: Path, dotted: str) -> None:
    section, _, key = dotted.rpartition(".")
    said = refusal(tmp_path, f"[{section}]\n{key} = true\n")
    assert f"given.toml:2: {dotted} = True: " in said


# The house rule: the example has every key and says its true default.

SECTIONS: list[tuple[str, type[Section]]] = [
    ("store", StoreSettings),
    ("catalog", CatalogSettings),
    ("upstreams.huggingface", UpstreamSettings),
    ("transfer", TransferSettings),
    ("serve", ServeSettings),
    ("daemon", DaemonSettings),
]
KEYS = [(table, key) for table, model in SECTIONS for key in model.model_fields]


def example_tables() -> dict[str, list[str]]:
    """The lines of each table, with what is commented out taken in."""
    tables: dict[str, list[str]] = {}
    table = ""
    for line in example_text().splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line.strip()):
            table = header[1]
        tables.setdefault(table, []).append(line.removeprefix("# "))
    return tables


def test_every_section_of_the_settings_is_known_to_this_test() -> None:
    nested = {name.split(".")[0] for name, _ in SECTIONS}
    assert nested | {"mirrors"} == set(Settings.model_fields)  # see test_mirrors
    assert all(issubclass(model, BaseModel) for _, model in SECTIONS)


@pytest.mark.parametrize(("table", "key"), KEYS, ids=str)
def test_the_example_has_every_key_once(table: str, key: str) -> None:
    lines = [one for one in example_tables()[table] if re.match(rf"{key}\s*=", one)]
    assert len(lines) == 1


def test_the_example_names_no_key_that_there_is_not(tmp_path: Path) -> None:
    whole = "\n".join(
        line.removeprefix("# ") if re.match(r"# ([a-z_]+\s*=|\[)", line) else line
        for line in example_text().splitlines()
    )
    settings = read(tmp_path, whole)
    assert settings.transfer.rate_limit == 50_000_000


def test_the_example_as_it_stands_changes_nothing(tmp_path: Path) -> None:
    assert tomllib.loads(example_text())
    assert read(tmp_path, example_text()) == read(tmp_path, "")
