"""A source that is never the bottleneck: pages of rows, made before the first request, served from memory.

python server.py PAGES LATENCY_MS [COLUMNS]     prints its port

GET /rows?page=N&size=1000                      1,000 rows of 7 columns, about 265 bytes each; X-Total-Count
GET /rows?page=N&size=1000&total=T              the same, as if there were T rows
GET /posts?_page=N                              the same rows, by the names of the contract `jsonplaceholder`
"""

import http.server
import json
import random
import sys
import time
import urllib.parse

SIZE = 1000


def page(number):
    """Return the rows of a page."""
    chance = random.Random(number)
    first = number * SIZE
    return [
        {
            "id": first + place + 1,
            "userId": chance.randrange(1, 5000),
            "title": f"row {first + place} " + "".join(chance.choices("abcdefghij ", k=30)),
            "body": "".join(chance.choices("klmnopqrst ", k=90)),
            "createdAt": f"2024-01-{place % 28 + 1:02}T{place % 24:02}:{place % 60:02}:00Z",
            "amount": round(chance.random() * 1000, 2),
            "done": chance.random() < 0.5,
        }
        for place in range(SIZE)
    ]


def main(pages, latency, columns=7):
    bodies = [
        json.dumps([dict(list(row.items())[:columns]) for row in page(number)]).encode() for number in range(pages)
    ]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_GET(self):
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            number = int((asked.get("page") or asked["_page"])[0]) - 1
            total = int(asked.get("total", [pages * SIZE])[0])
            body = bodies[number % pages] if number * SIZE < total else b"[]"
            if latency:
                time.sleep(latency)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Total-Count", str(total))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1000, *map(int, sys.argv[3:]))
