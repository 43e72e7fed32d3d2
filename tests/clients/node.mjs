// ioredis and node-redis against NeoKV: `node.mjs PORT`. Exits with a stack trace at the first surprise.

import assert from "node:assert/strict";

import Redis from "ioredis";
import { createClient } from "redis";

const port = Number(process.argv[2]);

async function withIoredis() {
  const client = new Redis({ port, enableReadyCheck: true });
  assert.equal(await client.set("greeting", "hello", "EX", 1000), "OK");
  assert.equal(await client.get("greeting"), "hello");
  const replies = await client.pipeline().incr("n").incr("n").lpush("n", "x").incr("n").exec();
  assert.deepEqual(replies.filter(([error]) => !error).map(([, value]) => value), [1, 2, 3]);
  assert.match(replies[2][0].message, /^WRONGTYPE/);
  await client.hset("user", { name: "Ada", born: 1815 });
  assert.deepEqual(await client.hgetall("user"), { born: "1815", name: "Ada" });
  const found = new Set();
  await client.sadd("large", ...Array.from({ length: 1000 }, (_, n) => n));
  for await (const page of client.sscanStream("large", { count: 50 })) page.forEach((member) => found.add(member));
  assert.equal(found.size, 1000);
  assert.deepEqual(await client.getBuffer("missing"), null);
  const binary = Buffer.from([0, 255, 13, 10, 0]);
  await client.set("binary", binary);
  assert.deepEqual(await client.getBuffer("binary"), binary);
  // Transactions are refused; what matters is that nothing of them happens.
  await client.set("n", 0);
  await assert.rejects(client.multi().incr("n").incr("n").exec(), /EXECABORT/);
  await assert.rejects(client.watch("n"), /transactions are not supported/);
  assert.equal(await client.get("n"), "0");
  assert.equal(await client.incr("n"), 1);
  await client.flushall();
  client.disconnect();
}

async function withNodeRedis(RESP) {
  const client = await createClient({ socket: { port }, RESP }).connect();
  assert.equal(await client.set("greeting", "hello"), "OK");
  assert.equal(await client.get("greeting"), "hello");
  assert.equal(await client.zAdd("board", [{ score: 1.5, value: "bob" }, { score: 3, value: "ada" }]), 2);
  assert.deepEqual(await client.zRangeWithScores("board", 0, -1), [
    { value: "bob", score: 1.5 },
    { value: "ada", score: 3 },
  ]);
  assert.equal(await client.hSet("user", { name: "Ada" }), 1);
  assert.deepEqual({ ...(await client.hGetAll("user")) }, { name: "Ada" });
  assert.deepEqual([...(await client.sMembers("missing"))], []);
  await client.set("n", 0);
  await assert.rejects(client.multi().incr("n").exec());
  assert.equal(await client.get("n"), "0");
  assert.equal(await client.incr("n"), 1);
  await client.flushAll();
  await client.close();
}

await withIoredis();
await withNodeRedis(2);
await withNodeRedis(3);
console.log("ok");
