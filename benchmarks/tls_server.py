"""``python -m benchmarks.tls_server STORE CERT KEY``: the server behind TLS."""

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path

from aiohttp import web

from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.serve.app import create_app
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs


async def main(store: Path, certificate: str, key: str) -> None:
    root = StoreRoot.open(store, create=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Catalog.open(sqlite_url(root.catalog), read_only=True) as catalog:
        library = Library(catalog, LocalBlobs(root), upstream_order=("local",))
        runner = web.AppRunner(create_app(library, ServeOptions()), access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            print(json.dumps({"url": url}), flush=True)
            await stop.wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
