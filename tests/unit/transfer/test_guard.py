"""Where requests may go; nothing is sent here."""

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from hubsync.transfer.guard import (
    EgressError,
    GuardedResolver,
    Homes,
    PatientResolver,
    check_literal,
)
from tests.unit.transfer.resolving import ScriptedResolver
from tests.unit.transfer.virtual_time import now, run

PUBLIC, PRIVATE = "93.184.216.34", "10.0.0.5"


def addresses(found: list[ResolveResult]) -> list[str]:
    return [one["host"] for one in found]


class TestLiterals:
    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1", "10.0.0.5", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
            *("::1", "fe80::1%eth0", "fd00:ec2::254", "::ffff:127.0.0.1"),
            *("64:ff9b::a9fe:a9fe", "2002:7f00:1::", "224.0.0.1", "240.0.0.1"),
            *("2130706433", "0177.0.0.1", "0x7f000001", "127.1", "127.0.0.1."),
            *("010.8.8.8", "08.8.8.8"),
        ],
    )
    def test_an_address_that_is_not_of_the_internet_is_refused(self, host: str) -> None:
        with pytest.raises(EgressError) as caught:
            check_literal(host)
        assert host in str(caught.value)
        assert caught.value.hint
        assert "endpoint" in caught.value.hint
        assert caught.value.exit_code == 5
        assert not caught.value.retryable

    @pytest.mark.parametrize(
        "host", ["8.8.8.8", "2606:4700::1111", "hub.test", "localhost"]
    )
    def test_others_are_not_nor_are_names(self, host: str) -> None:
        check_literal(host)


class TestResolver:
    @pytest.mark.parametrize(
        "address", [PRIVATE, "127.0.0.1", "::1", "::ffff:10.0.0.5", "198.18.0.7"]
    )
    def test_a_name_that_leads_near_us_is_refused_and_both_are_named(
        self, address: str
    ) -> None:
        guarded = GuardedResolver(ScriptedResolver(inner_test=[[address]]))
        with pytest.raises(EgressError) as caught:
            run(guarded.resolve("inner.test", 80))
        assert "inner.test" in str(caught.value)
        assert address in str(caught.value)

    def test_of_many_addresses_only_those_of_the_internet_are_given(self) -> None:
        guarded = GuardedResolver(ScriptedResolver(mixed_test=[[PRIVATE, PUBLIC]]))
        assert addresses(run(guarded.resolve("mixed.test", 80))) == [PUBLIC]

    def test_what_changes_after_it_was_looked_at_is_looked_at_again(self) -> None:
        resolver = ScriptedResolver(rebind_test=[[PUBLIC], ["127.0.0.1"]])
        guarded = GuardedResolver(resolver)
        assert addresses(run(guarded.resolve("rebind.test", 80))) == [PUBLIC]
        with pytest.raises(EgressError):
            run(guarded.resolve("rebind.test", 80))

    def test_a_proxy_may_be_near_on_its_port_only(self) -> None:
        resolver = ScriptedResolver(proxy_test=[[PRIVATE]])
        guarded = GuardedResolver(resolver, frozenset({("proxy.test", 3128)}))
        assert addresses(run(guarded.resolve("proxy.test", 3128))) == [PRIVATE]
        with pytest.raises(EgressError):
            run(guarded.resolve("proxy.test", 80))

    def test_an_unknown_name_is_an_unknown_name(self) -> None:
        with pytest.raises(socket.gaierror):
            run(GuardedResolver(ScriptedResolver()).resolve("nowhere.test", 80))


class Silent(AbstractResolver):
    """Never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.get_running_loop().create_future()
        return []

    async def close(self) -> None: ...


class TestPatience:
    def test_a_lookup_that_takes_too_long_is_given_up(self) -> None:
        async def story() -> float:
            started = now()
            with pytest.raises(socket.gaierror, match="no answer in time"):
                await PatientResolver(Silent(), 10.0).resolve("hub.test", 80)
            return now() - started

        assert run(story()) == pytest.approx(10.0)

    @pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".test"])
    def test_what_cannot_be_a_name_is_an_unknown_name(self, host: str) -> None:
        class Encoding(ScriptedResolver):
            async def resolve(
                self,
                host: str,
                port: int = 0,
                family: socket.AddressFamily = socket.AF_INET,
            ) -> list[ResolveResult]:
                host.encode("idna")  # as `socket.getaddrinfo` does
                return await super().resolve(host, port, family)

        with pytest.raises(socket.gaierror, match="no host is so named"):
            run(PatientResolver(Encoding(), 1.0).resolve(host, 80))


class TestHomes:
    @pytest.mark.parametrize(
        ("given", "near"),
        [
            ([PUBLIC], False),
            ([PRIVATE], True),
            (["::1"], True),
            (["198.18.0.4"], True),  # a resolver that answers everything so
            (["198.18.0.4", "2606:4700::1111"], True),
        ],
    )
    def test_an_upstream_is_where_its_name_leads(
        self, given: list[str], near: bool
    ) -> None:
        homes = Homes(ScriptedResolver(hub_test=[given]))
        assert run(homes.is_near("hub.test", 443)) is near

    @pytest.mark.parametrize(
        ("host", "near"),
        [(PRIVATE, True), ("::1", True), ("2130706433", True), (PUBLIC, False)],
    )
    def test_an_address_is_known_without_asking(self, host: str, near: bool) -> None:
        resolver = ScriptedResolver()
        homes = Homes(resolver)
        assert homes.known(host, 443) is near
        assert run(homes.is_near(host, 443)) is near
        assert not resolver.asked

    def test_many_at_once_look_up_once(self) -> None:
        resolver = ScriptedResolver(hub_test=[[PRIVATE]])

        async def story() -> None:
            homes = Homes(resolver)
            assert homes.known("hub.test", 443) is None
            found = await asyncio.gather(
                *(homes.is_near("hub.test", 443) for _ in range(128))
            )
            assert set(found) == {True}
            assert homes.known("hub.test", 443) is True

        run(story())
        assert resolver.asked == {"hub.test": 1}

    def test_a_lookup_that_fails_fails_for_all_and_is_made_again_later(self) -> None:
        trouble = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
        resolver = ScriptedResolver(hub_test=[trouble, [PRIVATE]])

        async def story() -> None:
            homes = Homes(resolver)
            ends = await asyncio.gather(
                *(homes.is_near("hub.test", 443) for _ in range(32)),
                return_exceptions=True,
            )
            assert ends == [trouble] * 32
            assert homes.known("hub.test", 443) is None
            assert await homes.is_near("hub.test", 443)

        run(story())
        assert resolver.asked == {"hub.test": 2}

    def test_two_upstreams_do_not_change_each_other(self) -> None:
        homes = Homes(ScriptedResolver(far_test=[[PUBLIC]], near_test=[[PRIVATE]]))

        async def story() -> list[bool]:
            return [await homes.is_near(f"{name}.test", 1) for name in ("far", "near")]

        assert run(story()) == [False, True]

    def test_one_that_is_closed_waits_for_nobody(self) -> None:
        async def story() -> None:
            homes = Homes(Silent())
            waiting = asyncio.create_task(homes.is_near("hub.test", 443))
            await asyncio.sleep(0)
            await homes.close()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        run(story())
