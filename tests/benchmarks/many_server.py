"""A source of small answers, each after some milliseconds.

python many_server.py LATENCY_MS     prints its port; GET /rNNN?day=YYYY-MM-DD gives ten rows of the day
"""

import asyncio
import datetime as dt
import json
import sys
import urllib.parse

ROWS = 10


def rows(day):
    """Return the rows of a day."""
    first = dt.date.fromisoformat(day).toordinal() * ROWS
    return [{"id": first + place, "name": "a name", "amount": float(place)} for place in range(ROWS)]


async def serve(latency):
    async def answer(reader, writer):
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(line.split()[1].decode()).query)
            body = json.dumps(rows(query["day"][0])).encode()
            await asyncio.sleep(latency)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
