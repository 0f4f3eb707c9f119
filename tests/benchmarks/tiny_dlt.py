"""The peer of many small answers: dlt's rest_api source to Parquet on disk, one resource for each path.

python tiny_dlt.py URL FIRST_DAY DAYS RESOURCES OUT
"""

import datetime as dt
import sys

import dlt_peer
from dlt.sources.helpers.rest_client import RESTClient

COLUMNS = {"id": {"data_type": "bigint"}, "name": {"data_type": "text"}, "amount": {"data_type": "double"}}


def main(url, first, days, resources, out):
    client = RESTClient(base_url=url)
    wanted = [str(dt.date.fromisoformat(first) + dt.timedelta(days=number)) for number in range(days)]

    def resource(name):
        @dlt_peer.dlt.resource(name=f"days_{name}", selected=False)
        def asked():
            yield from wanted

        @dlt_peer.dlt.transformer(
            name=name, data_from=asked, columns=COLUMNS, write_disposition="replace", parallelized=True
        )
        def rows(day):
            return [{**row, "day": day} for row in client.get(f"/{name}", params={"day": day}).json()]

        return rows

    dlt_peer.load([resource(f"r{number:03}") for number in range(resources)], out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
