"""The data of the sample API: the state of a small blog on any day. The same day always gives the same data.

Each day adds posts and comments, completes to-dos, and edits users. As in real sources, some rows are late, repeated or
invalid. From the second day on, new posts have a field that no contract declares.
"""

from __future__ import annotations

import datetime as dt
import functools
import random
from typing import Any

FIRST_DAY = dt.date(2024, 1, 1)
_USERS = 10
_FIRST_POSTS = 100
_POSTS_PER_DAY = 10
_COMMENTS_PER_POST = 5
_TODOS = 200
_KEPT_DAYS = 30
"""Days for which the API serves an added post; the first hundred posts stay."""
_WORDS = [
    "autumn",
    "river",
    "signal",
    "paper",
    "window",
    "harbor",
    "copper",
    "lantern",
    "meadow",
    "thread",
    "orbit",
    "winter",
    "cedar",
    "marble",
    "anchor",
    "pepper",
    "violet",
    "canyon",
    "button",
    "ribbon",
    "comet",
    "saddle",
    "timber",
    "velvet",
    "walnut",
    "garden",
    "island",
    "kettle",
    "ladder",
    "mirror",
]
_COINS = {"bitcoin": 42_000.0, "ethereum": 2_300.0, "solana": 100.0}

Record = dict[str, Any]


@functools.lru_cache(maxsize=64)
def collection(name: str, day: dt.date, first_day: dt.date = FIRST_DAY) -> tuple[Record, ...]:
    """Return the records of a collection on a day (UTC); no records for an unknown collection.

    Args:
        name: posts, users, comments or todos.
        day: The day.
        first_day: The day on which the blog begins, with a hundred posts.
    """
    index = max(0, (day - first_day).days)
    makers = {"users": _users, "comments": _comments, "todos": _todos}
    if name == "posts":
        return tuple(_posts(index, first_day))
    return tuple(makers[name](index)) if name in makers else ()


def prices(day: dt.date, first_day: dt.date = FIRST_DAY) -> dict[str, float]:
    """Return the prices of the coins on a day as a flat map, such as `{"bitcoin_usd": 50000.0}`."""
    index = max(0, (day - first_day).days)
    return {
        f"{coin}_usd": round(price * (1 + 0.002 * index + random.Random(f"{coin}{index}").uniform(-0.02, 0.02)), 2)
        for coin, price in _COINS.items()
    }


def _users(index: int) -> list[Record]:
    users = []
    for number in range(1, _USERS + 1):
        # each day one user moves; the latest move decides where the user lives
        moved = max((day for day in range(1, index + 1) if day % _USERS == number % _USERS), default=0)
        name = f"{_word('first', number).title()} {_word('last', number).title()}"
        handle = f"{name.split(maxsplit=1)[0].lower()}{number}"
        users.append(
            {
                "id": number,
                "name": name,
                "username": handle,
                "email": f"{handle}@example.com" if moved == 0 else f"{handle}.{moved}@example.com",
                "address": {
                    "street": f"{_word('street', number).title()} Road",
                    "city": f"{_word('city', number, moved).title()}ton",
                    "geo": {"lat": f"{number * 3.5:.4f}", "lng": f"{number * -7.25:.4f}"},
                },
                "phone": f"555-01{number:02d}",
                "website": f"{handle}.example.com",
                "company": {"name": f"{_word('company', number).title()} Ltd", "bs": _sentence("bs", number, words=3)},
            }
        )
    if index >= 2:  # noqa: PLR2004 — the third day
        users[3]["email"] = "not an address"  # breaks the rule email_form
    return users


def _posts(index: int, first_day: dt.date) -> list[Record]:
    posts = [_post(number, first_day) for number in _post_numbers(index)]
    if index >= 1:
        # the first post is edited and comes twice: the later one counts
        posts.append(posts[0] | {"title": f"{posts[0]['title']} (edited on day {index + 1})"})
        # invalid rows: a number in words, and an empty title
        posts[-2] = posts[-2] | {"userId": "seven"}
        posts[-3] = posts[-3] | {"title": ""}
    return posts


def _post_numbers(index: int) -> list[int]:
    newest = _FIRST_POSTS + _POSTS_PER_DAY * index
    oldest_kept = max(_FIRST_POSTS, newest - _POSTS_PER_DAY * _KEPT_DAYS)
    return [*range(1, _FIRST_POSTS + 1), *range(oldest_kept + 1, newest + 1)]


def _post(number: int, first_day: dt.date) -> Record:
    added = 0 if number <= _FIRST_POSTS else (number - _FIRST_POSTS - 1) // _POSTS_PER_DAY + 1
    # the last post of each day was written the evening before: it comes late
    is_late = number > _FIRST_POSTS and number % _POSTS_PER_DAY == 0
    moment = dt.datetime.combine(first_day, dt.time(8), tzinfo=dt.UTC) + dt.timedelta(days=added, minutes=number % 600)
    if is_late:
        moment -= dt.timedelta(hours=10)
    post: Record = {
        "userId": (number - 1) % _USERS + 1,
        "id": number,
        "title": _sentence("title", number, words=5),
        "body": "\n".join(_sentence("body", number, line, words=8) for line in range(3)),
        "createdAt": moment.isoformat().replace("+00:00", "Z"),
    }
    return post | {"tags": [_word("tag", number), _word("tag", number, 2)]} if added >= 1 else post


def _comments(index: int) -> list[Record]:
    return [
        {
            "postId": post,
            "id": (post - 1) * _COMMENTS_PER_POST + at + 1,
            "name": _sentence("comment", post, at, words=4),
            "email": f"{_word('reader', post, at)}@example.org",
            "body": _sentence("reply", post, at, words=12),
        }
        for post in _post_numbers(index)
        for at in range(_COMMENTS_PER_POST)
    ]


def _todos(index: int) -> list[Record]:
    return [
        {
            "userId": (number - 1) // (_TODOS // _USERS) % _USERS + 1,
            "id": number,
            "title": _sentence("todo", number, words=4),
            "completed": number % 7 == 0 or number <= 5 * index,
        }
        for number in range(1, _TODOS + 1)
    ]


def _word(*seed: object) -> str:
    return random.Random("-".join(map(str, seed))).choice(_WORDS)


def _sentence(*seed: object, words: int) -> str:
    return " ".join(random.Random("-".join(map(str, seed))).choices(_WORDS, k=words))
