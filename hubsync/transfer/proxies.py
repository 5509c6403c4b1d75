"""The proxies that the environment names."""

from urllib.request import getproxies, proxy_bypass

from yarl import URL

from hubsync.model.errors import UsageError


class Proxies:
    """Which proxy an address is asked through.  Read once.

    Not left to the HTTP library: together with the proxies it reads the user's
    netrc, and what stands there would go to whatever host a redirect names.
    """

    def __init__(self) -> None:
        self._of_scheme = {
            scheme: _checked(scheme, url)
            for scheme, url in getproxies().items()
            if scheme in ("http", "https") and url
        }
        self._bypassed: dict[str, bool] = {}
        self.addresses = frozenset(
            (url.host, url.port) for url in self._of_scheme.values()
        )

    def of(self, url: URL) -> URL | None:
        """The proxy for *url*; None: it is asked directly."""
        proxy = self._of_scheme.get(url.scheme)
        if proxy is None or url.host is None:
            return None
        if url.host not in self._bypassed:
            self._bypassed[url.host] = bool(proxy_bypass(url.host))
        return None if self._bypassed[url.host] else proxy


def _checked(scheme: str, text: str) -> URL:
    try:
        proxy = URL(text)
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise UsageError(
            f"the proxy in {scheme}_proxy cannot be used: it is not the address of "
            "an HTTP proxy",
            hint="It looks like http://proxy.example:3128. To do without it, unset "
            f"{scheme}_proxy, or list the hub in no_proxy.",
        )
    return proxy
