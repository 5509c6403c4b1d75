"""``/v2/``: manifests and blobs, and who gets none."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from hubsync.model.digest import Digest
from tests.gguf_files import tiny_llama
from tests.unit.serve.mirror import Answer, File, Live, Mirror, serving

Q4, Q8 = tiny_llama(b"q4" * 3000), tiny_llama(b"q8" * 3000, file_type=7)
MMPROJ = b"GGUF projector"
PART = tiny_llama(b"part")
LLAMA_CPP = {"User-Agent": "llama-cpp/b4000", "Accept": "application/json"}
REPO = "/v2/acme/tiny-GGUF"


def fill(mirror: Mirror) -> None:
    mirror.publish(
        "acme/tiny-GGUF",
        {
            "README.md": File(b"# tiny"),
            "Tiny-BF16-00001-of-00002.gguf": File(PART, lfs=True),
            "Tiny-BF16-00002-of-00002.gguf": File(b"GGUF part 2", lfs=True),
            "Tiny-Q4_K_M.gguf": File(Q4, lfs=True),
            "Tiny-Q6_K.gguf": File(b"not here", lfs=True, held=False),
            "Tiny-Q8_0.gguf": File(Q8, lfs=True),
        },
        upstream="local",
    )
    seeing = {"m.gguf": File(Q4, lfs=True), "mmproj-f16.gguf": File(MMPROJ, lfs=True)}
    own = {"template": File(b"{{ .Prompt }}"), "params": File(b'{"top_k": 9}')}
    mirror.publish("acme/seeing", {**seeing, **own}, upstream="local", commit="two")
    mirror.publish("acme/words", {"a.txt": File(b"secret")}, commit="three")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    mirror = Mirror(tmp_path_factory.mktemp("mirror"))
    fill(mirror)
    with serving(mirror) as live:
        yield live
    mirror.close()


def manifest(live: Live, target: str, **headers: str) -> Any:
    answer = live.ask(target, headers=headers)
    assert answer.status == 200, answer.body
    return answer.json()


def error(answer: Answer) -> str:
    return str(answer.json()["error"])


def test_yes_this_is_a_registry(gguf: Live) -> None:
    for path in ("/v2/", "/v2"):
        assert gguf.get(path).json() == {}
    assert gguf.ask("/v2/", "POST").status == 403


@pytest.mark.parametrize(
    ("tag", "file"),
    [("latest", Q4), ("Q4_K_M", Q4), ("q8_0", Q8), ("Tiny-Q8_0.gguf", Q8)],
)
def test_a_manifest_names_the_file(gguf: Live, tag: str, file: bytes) -> None:
    answer = gguf.get(f"{REPO}/manifests/{tag}")
    found = answer.json()
    assert found["schemaVersion"] == 2
    assert found["layers"][0] == {
        "digest": str(Digest.of(file)),
        "mediaType": "application/vnd.ollama.image.model",
        "size": len(file),
    }
    digest = answer.headers["docker-content-digest"]
    assert digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    assert "ggufFile" not in found


def test_every_blob_of_a_manifest_is_there(gguf: Live) -> None:
    found = manifest(gguf, f"{REPO}/manifests/latest")
    assert len(found["layers"]) == 3
    for one in (*found["layers"], found["config"]):
        target = f"{REPO}/blobs/{one['digest']}"
        head = gguf.ask(target, "HEAD")
        assert head.status == 200
        assert head.headers["content-length"] == str(one["size"])
        answer = gguf.get(target)
        assert answer.status == 200
        assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == one["digest"]
        assert answer.headers["location"] == target
        assert answer.headers["docker-content-digest"] == one["digest"]
        part = gguf.get(target, Range=f"bytes=3-{one['size'] - 1}")
        assert (part.status, part.body) == (206, answer.body[3:])
        same = gguf.get(target, If_None_Match=answer.headers["etag"])
        assert same.status == 304


def test_made_blobs_are_found_by_a_server_that_has_not_made_them(
    own_mirror: Mirror,
) -> None:
    fill(own_mirror)
    with serving(own_mirror) as first:
        found = manifest(first, f"{REPO}/manifests/Q8_0")
    with serving(own_mirror) as second:
        for one in (*found["layers"], found["config"]):
            assert second.get(f"{REPO}/blobs/{one['digest']}").status == 200


def test_a_repos_own_files_and_its_projector_are_layers(gguf: Live) -> None:
    found = manifest(gguf, "/v2/acme/seeing/manifests/latest")
    kinds = {one["mediaType"].rpartition(".")[2]: one for one in found["layers"]}
    assert list(kinds) == ["model", "projector", "template", "params"]
    assert kinds["projector"]["digest"] == str(Digest.of(MMPROJ))
    target = f"/v2/acme/seeing/blobs/{kinds['template']['digest']}"
    assert gguf.get(target).body == b"{{ .Prompt }}"


def test_older_llama_cpp_is_told_the_file(gguf: Live) -> None:
    found = manifest(gguf, f"{REPO}/manifests/latest", **LLAMA_CPP)
    assert found["ggufFile"]["rfilename"] == "Tiny-Q4_K_M.gguf"
    assert found["ggufFile"]["blobId"] == str(Digest.of(Q4))
    assert found["ggufFile"]["lfs"]["sha256"] == Digest.of(Q4).hex
    assert "mmprojFile" not in found
    seeing = manifest(gguf, "/v2/acme/seeing/manifests/latest", **LLAMA_CPP)
    assert seeing["mmprojFile"]["rfilename"] == "mmproj-f16.gguf"


def test_parts_are_for_llama_cpp_only(gguf: Live) -> None:
    target = f"{REPO}/manifests/BF16"
    found = manifest(gguf, target, **LLAMA_CPP)
    assert found["ggufFile"]["rfilename"] == "Tiny-BF16-00001-of-00002.gguf"
    answer = gguf.get(target)
    assert answer.status == 400
    assert "sharded" in error(answer)


def test_a_wrong_tag(gguf: Live) -> None:
    answer = gguf.get(f"{REPO}/manifests/Q5_K_M")
    assert answer.status == 400
    assert error(answer).startswith("The specified tag is not a valid quantization")


def test_a_repo_without_gguf(gguf: Live) -> None:
    answer = gguf.get("/v2/acme/words/manifests/latest")
    assert answer.status == 400
    assert "not GGUF" in error(answer)


def test_a_file_that_is_not_held(gguf: Live) -> None:
    answer = gguf.get(f"{REPO}/manifests/Q6_K")
    assert (answer.status, answer.code) == (404, "EntryNotFound")
    blob = f"{REPO}/blobs/{Digest.of(b'not here')}"
    assert gguf.get(blob).status == 404


def test_a_repo_that_is_not_held(gguf: Live) -> None:
    for target in ("manifests/latest", f"blobs/{Digest.of(Q4)}"):
        answer = gguf.get(f"/v2/acme/nothing/{target}")
        assert (answer.status, answer.code) == (404, "RepoNotFound")


def test_s27_a_blob_is_given_through_its_own_repo_only(gguf: Live) -> None:
    digest = Digest.of(Q8)
    assert gguf.get(f"{REPO}/blobs/{digest}").status == 200
    answer = gguf.get(f"/v2/acme/words/blobs/{digest}")
    assert (answer.status, answer.code) == (404, "EntryNotFound")
    made = manifest(gguf, f"{REPO}/manifests/latest")["config"]["digest"]
    assert gguf.get(f"/v2/acme/words/blobs/{made}").status == 404


@pytest.mark.parametrize(
    "name",
    [
        "sha256:../../../../etc/passwd", "sha256:..%2F..%2Fetc%2Fpasswd",
        "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "G" * 64,
        "sha256:" + "A" * 64, "sha512:" + "0" * 64, "0" * 64, "sha256-" + "0" * 64,
        "sha256:" + "0" * 64 + "%00", "sha256:" + "0" * 64 + "%0A",
        "sha256:" + "0" * 64 + "/x", "%2e%2e", "",
    ],
)  # fmt: skip
def test_s5_only_a_digest_names_a_blob(gguf: Live, name: str) -> None:
    """CVE-2024-37032: nothing else becomes a path."""
    assert gguf.get(f"{REPO}/blobs/{name}").status == 404


@pytest.mark.parametrize(
    "target",
    ["/v2/%00/x/manifests/latest", "/v2/a/b/c/manifests/latest", "/v2/manifests/x",
     "/v2/acme/tiny-GGUF/manifests/%2e%2e", "/v2/acme/tiny-GGUF/manifests/",
     "/v2/acme/tiny-GGUF/tags/list", "/v2/_catalog", "/v2//manifests/latest",
     "/v2/acme/tiny-GGUF/manifests/" + "a" * 200],
)  # fmt: skip
def test_what_is_no_route(gguf: Live, target: str) -> None:
    assert gguf.get(target).status == 404


def test_s33_no_tag_is_written(gguf: Live) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        answer = gguf.ask(f"{REPO}/manifests/latest", method)
        assert answer.status == 403


def test_a_name_in_other_case_leads_to_the_name(gguf: Live) -> None:
    answer = gguf.get("/v2/Acme/tiny-gguf/manifests/Q8_0")
    assert answer.status == 307
    assert answer.headers["location"] == f"{REPO}/manifests/Q8_0"


def test_an_owner_may_be_called_v2(own_mirror: Mirror) -> None:
    own_mirror.publish("v2/model", {"a.txt": File(b"a")}, upstream="local")
    with serving(own_mirror) as live:
        assert live.get("/v2/model/resolve/main/a.txt").body == b"a"


def test_a_pull_ends_on_what_it_began_with(own_mirror: Mirror) -> None:
    """The branch moves between manifest and blobs: no half of each."""
    fill(own_mirror)
    with serving(own_mirror) as live:
        found = manifest(live, f"{REPO}/manifests/Q8_0")
        new = {"Tiny-Q8_0.gguf": File(tiny_llama(b"new"), lfs=True)}
        own_mirror.publish(
            "acme/tiny-GGUF", new, upstream="local", commit="next", minute=5
        )
        for one in (*found["layers"], found["config"]):
            answer = live.get(f"{REPO}/blobs/{one['digest']}")
            assert str(Digest.of(answer.body)) == one["digest"]
        again = manifest(live, f"{REPO}/manifests/Q8_0")
        assert again["layers"][0]["digest"] == str(Digest.of(tiny_llama(b"new")))


def test_s45_a_bad_file_is_offered_without_what_it_would_say(
    own_mirror: Mirror,
) -> None:
    """S45: its beginning lies; it is a file like any other, and gets no template."""
    bad = b"GGUF\3\0\0\0" + b"\xff" * 5000
    own_mirror.publish("a/b", {"m-Q4_0.gguf": File(bad, lfs=True)}, upstream="local")
    with serving(own_mirror) as live:
        found = manifest(live, "/v2/a/b/manifests/latest")
        assert len(found["layers"]) == 1
        config = live.get(f"/v2/a/b/blobs/{found['config']['digest']}")
        assert json.loads(config.body)["model_family"] == "unknown"
