"""F11: the power goes, and everything that was acknowledged is there."""

import pytest

from tests.crash.runs import cut_power

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", range(2))
def test_f11_a_power_cut_takes_nothing_that_was_acknowledged(seed: int) -> None:
    report = cut_power(60, seed)

    assert report["found"] == []
    assert report["cuts"] == 60
    assert report["files"] > 300
