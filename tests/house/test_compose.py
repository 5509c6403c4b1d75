"""The container files name things that exist."""

from pathlib import Path

import yaml

from hubsync.cli.main import COMMANDS

PROJECT = Path(__file__).parents[2]


def test_the_compose_file_runs_the_image_that_the_dockerfile_makes() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))
    service = compose["services"]["hubsync"]
    assert service["build"] == "."
    volume, _, mounted = service["volumes"][0].partition(":")
    assert volume in compose["volumes"]
    dockerfile = (PROJECT / "Dockerfile").read_text("utf-8")
    assert f"HUBSYNC_ROOT={mounted}" in dockerfile


def test_every_file_that_the_dockerfile_copies_is_there() -> None:
    lines = (PROJECT / "Dockerfile").read_text("utf-8").splitlines()
    for line in lines:
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            for name in words[1:-1]:
                assert (PROJECT / name).exists(), name


def test_the_daemon_of_the_compose_file_shares_store_and_image() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text("utf-8"))
    server, daemon = compose["services"]["hubsync"], compose["services"]["daemon"]
    assert daemon["image"] == server["image"]
    assert server["volumes"][0] in daemon["volumes"]
    assert daemon["command"][0] in COMMANDS
    # Where a configuration is looked for when none is named.
    assert any(":/etc/hubsync/config.toml" in one for one in daemon["volumes"])
