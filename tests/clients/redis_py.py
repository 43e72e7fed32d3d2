"""redis-py against NeoKV: `redis_py.py PORT`. Exits with a traceback at the first surprise."""

import sys

import redis


def strings(client):
    assert client.set("greeting", "hello")
    assert client.get("greeting") == b"hello"
    assert client.set("greeting", "again", nx=True) is None
    assert client.set("greeting", "world", ex=1000, get=True) == b"hello"
    assert 990 <= client.ttl("greeting") <= 1000
    assert client.incrby("counter", 41) == 41
    assert client.incr("counter") == 42
    assert client.incrbyfloat("price", 1.5) == 1.5
    assert client.mset({"a": 1, "b": 2})
    assert client.mget("a", "b", "missing") == [b"1", b"2", None]
    assert client.getdel("a") == b"1"
    assert client.exists("a", "b") == 1


def collections(client):
    assert client.hset("user:1", mapping={"name": "Ada", "born": 1815}) == 2
    assert client.hgetall("user:1") == {b"name": b"Ada", b"born": b"1815"}
    assert client.hrandfield("user:1", 5) is not None
    assert client.rpush("queue", "one", "two", "three") == 3
    assert client.lpop("queue", 2) == [b"one", b"two"]
    assert client.lmpop(1, "queue", direction="LEFT") == [b"queue", [b"three"]]
    assert client.sadd("set", "a", "b", "c") == 3
    assert client.smembers("set") == {b"a", b"b", b"c"}
    assert client.zadd("board", {"ada": 3, "bob": 1.5}) == 2
    assert client.zrange("board", 0, -1, withscores=True) in (
        [(b"bob", 1.5), (b"ada", 3.0)],
        [[b"bob", 1.5], [b"ada", 3.0]],
    )
    assert client.zpopmin("board") in ([(b"bob", 1.5)], [[b"bob", 1.5]], [b"bob", 1.5])


def iteration(client):
    with client.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"scan:{number}", number)
        assert all(pipe.execute())
    assert len(set(client.scan_iter("scan:*", count=50))) == 1000
    client.sadd("large", *range(1000))
    assert len(set(client.sscan_iter("large", count=20))) == 1000
    client.hset("wide", mapping={f"f{n}": n for n in range(1000)})
    assert len(dict(client.hscan_iter("wide", count=20))) == 1000


def errors(client):
    try:
        client.lpush("greeting", "x")
    except redis.ResponseError as error:
        assert "WRONGTYPE" in str(error) or "wrong kind of value" in str(error), error
    else:
        raise AssertionError("LPUSH on a string went through")


def transactions(client):
    """Transactions are refused; what matters is that nothing of them happens."""
    client.set("n", 0)
    for watched in (False, True):
        pipe = client.pipeline(transaction=True)
        try:
            if watched:
                pipe.watch("n")
                pipe.multi()
            pipe.incr("n").incr("n").execute()
        except redis.ResponseError as error:
            assert "transactions are not supported" in str(error), error
        else:
            raise AssertionError("a transaction went through")
        finally:
            pipe.reset()
        assert client.get("n") == b"0"
    assert client.incr("n") == 1


def administration(client):
    assert client.ping()
    assert client.client_setname("tests")
    assert client.client_getname() in ("tests", b"tests")
    assert client.info("server")["redis_version"].startswith("7.")
    assert client.config_get("maxclients")
    assert client.command_count() > 98
    assert client.dbsize() > 1000
    assert client.flushall()
    assert client.dbsize() == 0


def main():
    port = int(sys.argv[1])
    for protocol in (2, 3):
        client = redis.Redis(port=port, protocol=protocol)
        for step in (strings, collections, iteration, errors, transactions, administration):
            step(client)
        client.close()
    print("ok")


main()
