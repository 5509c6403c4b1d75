"""Data frames: pandas by its file system, polars by plain addresses."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.e2e.stand import Client, Served, python_of

pytestmark = pytest.mark.clients

FOUND = {"rows": 560, "columns": ["symbol", "date", "price"], "msft": 123}
PANDAS = """
import pandas
def read(read_file, path):
    frame = read_file("hf://datasets/acme/vega/" + path)
    msft = int((frame["symbol"] == "MSFT").sum())
    return {"rows": len(frame), "columns": list(frame), "msft": msft}
answer = [
    read(pandas.read_parquet, "data/stocks.parquet"),
    read(pandas.read_csv, "csv/stocks.csv"),
]
"""
POLARS = """
import os, polars
from polars import col
base = os.environ["HF_ENDPOINT"] + "/datasets/acme/vega/resolve/main/"
def read(frame):
    msft = frame.filter(col("symbol") == "MSFT").collect()
    whole = frame.collect()
    return {"rows": len(whole), "columns": whole.columns, "msft": len(msft)}
answer = [
    read(polars.scan_parquet(base + "data/stocks.parquet")),
    read(polars.scan_csv(base + "csv/stocks.csv")),
]
"""
POLARS_BY_NAME = """
import polars
try:
    answer = len(polars.read_parquet("hf://datasets/acme/vega/data/stocks.parquet"))
except Exception as error:
    answer = str(error)
"""


@pytest.mark.table_row(
    "pandas", "`read_parquet` and `read_csv` of `hf://` (by HfFileSystem)"
)
def test_pandas_reads_by_name(client: Client, ran: Callable[[str], None]) -> None:
    ran(client.version("pandas"))
    assert client.ask(PANDAS) == [FOUND, FOUND]


@pytest.fixture
def polars(client: Client, ran: Callable[[str], None]) -> Client:
    found = replace(client, python=python_of("rust"))
    ran(found.version("polars"))
    return found


@pytest.mark.table_row(
    "polars", "`scan_parquet` and `scan_csv` of `http://mirror:8090/…/resolve/main/…`"
)
def test_polars_reads_by_plain_address(polars: Client) -> None:
    assert polars.ask(POLARS) == [FOUND, FOUND]


@pytest.mark.table_row(
    "polars",
    "`read_parquet` of `hf://`",
    result="fails: the Hub's address is built in; use plain addresses",
)
def test_polars_asks_the_hub_whatever_it_is_told(
    served: Served, polars: Client
) -> None:
    nowhere = "http://127.0.0.1:9"  # as proxy: nothing may leave this machine
    settings = {**polars.settings, "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    answer = replace(polars, settings=settings).ask(POLARS_BY_NAME)
    assert "https://huggingface.co/" in answer
