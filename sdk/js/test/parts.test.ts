import assert from "node:assert/strict";
import { test } from "node:test";
import { type Arrival, Arrivals } from "#dist/arrivals.js";
import { Backoff } from "#dist/backoff.js";
import { type Push, readFrame } from "#dist/frame.js";
import { Memory } from "#dist/memory.js";
import { type Options, settings } from "#dist/options.js";
import { maxDevices, maxUnsent, Outbox } from "#dist/outbox.js";
import { Seen } from "#dist/seen.js";
import { judgeClose, judgeRefusal } from "#dist/verdict.js";
import { FakeSocket, pushFrame, seeded, settle } from "./fake.js";

test("pauses are anything up to a limit that doubles, up to the longest", () => {
  const random = seeded(1);
  const b = new Backoff(200, 30_000, random);
  const limits = [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
  for (let round = 0; round < 300; round++) {
    limits.forEach((limit, i) => {
      assert.equal(b.attempts, i);
      const ms = b.next();
      assert.ok(ms >= 0 && ms <= limit, `${ms} of at most ${limit}`);
    });
    b.reset();
  }
  const highest = new Backoff(200, 30_000, () => 1 - Number.EPSILON);
  assert.deepEqual(
    limits.map(() => highest.next()),
    limits,
  );
  for (let i = 0; i < 2000; i++) assert.equal(highest.next(), 30_000, "no overflow, however many attempts");
});

test("what was seen is what a naive list says", () => {
  const random = seeded(2);
  const s = new Seen(50);
  let naive: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    const seq = Math.floor(random() * 120) + 1;
    if (random() < 0.5) {
      s.add(seq, seq);
      naive = [...naive.filter((n) => n !== seq), seq].slice(-50);
    } else assert.equal(s.recall(seq, seq), naive.includes(seq));
  }
  assert.deepEqual(
    s.list(),
    naive.flatMap((n) => [n, n]),
  );
});

test("a seq at another moment is another push, and the log another log", () => {
  const s = new Seen(10);
  s.add(1, 1000);
  s.add(2, 0);
  assert.ok(s.recall(1, 1000) && s.recall(1, 0) && s.recall(2, 77));
  assert.ok(!s.recall(1, 2000));
  assert.ok(!s.recall(2, 0), "everything of the old log is forgotten");
});

test("the outbox sends at most 1024 a frame, and keeps what is refused", () => {
  const o = new Outbox();
  const seqs = Array.from({ length: 2500 }, (_, i) => i + 1);
  o.ack(...seqs, ...seqs);
  o.open(7);
  const frames: unknown[] = [];
  let room = 2;
  const send = (f: unknown) => room-- > 0 && frames.push(f) > 0;
  o.flush(send);
  assert.deepEqual(frames, [
    { t: "ack", seq: seqs.slice(0, 1024) },
    { t: "ack", seq: seqs.slice(1024, 2048) },
  ]);
  room = 10;
  o.flush(send);
  assert.deepEqual(frames.slice(2), [
    { t: "ack", seq: seqs.slice(2048) },
    { t: "opened", seq: [7] },
  ]);
  o.flush(send);
  assert.equal(frames.length, 4);
});

test("the outbox is bounded, and the oldest give way", () => {
  const o = new Outbox();
  for (let i = 1; i <= maxUnsent + 10; i++) o.ack(i);
  assert.equal(o.acks, maxUnsent);
  assert.equal(o.list().acks[0], 11);
  for (let i = 0; i < maxDevices; i++) o.device({ channel: "fcm", token: `${i}` }, false);
  o.device({ channel: "fcm", token: "0" }, true); // known: no further one
  assert.throws(() => o.device({ channel: "fcm", token: "more" }, false), RangeError);
});

test("a device is registered on each session, and a removal is sent once", () => {
  const o = new Outbox();
  const frames: unknown[] = [];
  const send = (f: unknown) => frames.push(f) > 0;
  o.device({ channel: "apns", token: "a" }, false);
  o.device({ channel: "fcm", token: "b" }, false);
  o.flush(send);
  o.flush(send);
  assert.equal(frames.length, 2);
  o.device({ channel: "fcm", token: "b" }, true);
  o.flush(send);
  o.renew();
  o.flush(send);
  assert.deepEqual(frames.slice(2), [
    { t: "device", channel: "fcm", token: "b", remove: true },
    { t: "device", channel: "apns", token: "a" },
  ]);
});

function arrivals(limit: number, show: (a: Arrival) => Promise<boolean>) {
  const acked: number[] = [];
  const a = new Arrivals({ show, ack: (seq) => acked.push(seq), idle() {} }, new Seen(100), limit);
  return { a, acked, take: (seq: number) => a.take(readFrame(JSON.stringify(pushFrame(seq))) as { push: Push }) };
}

test("pushes are shown one at a time and in order, and acknowledged when they have been", async () => {
  const log: string[] = [];
  const release: (() => void)[] = [];
  const { acked, take } = arrivals(10, async (x) => {
    const { seq } = (x as { push: Push }).push;
    log.push(`begin ${seq}`);
    await new Promise<void>((resolve) => release.push(resolve));
    log.push(`end ${seq}`);
    return seq !== 2;
  });
  for (const seq of [1, 2, 3, 1, 2]) assert.ok(take(seq));
  for (let i = 0; i < 3; i++) {
    await settle();
    release.shift()?.();
  }
  await settle();
  assert.deepEqual(log, ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
  assert.deepEqual(acked, [1, 3], "what failed is not acknowledged");
  take(1);
  assert.deepEqual(acked, [1, 3, 1], "what comes again is acknowledged again and not shown");
  take(2);
  await settle();
  assert.equal(log.at(-1), "begin 2", "what failed is shown again");
});

test("what waits is bounded", async () => {
  const { a, take } = arrivals(2, () => new Promise(() => {}));
  assert.deepEqual([1, 2, 3, 4].map(take), [true, true, true, false]);
  assert.ok(take(2), "one that waits already needs no room");
  assert.ok(!a.idle);
  a.clear();
  assert.ok(take(4));
});

test("a revoked push that waits is never shown, nor one that comes behind its revocation", async () => {
  const shown: unknown[] = [];
  let release = () => {};
  const { a, acked, take } = arrivals(10, async (x) => {
    shown.push("push" in x ? x.push.seq : `revoke ${x.revoke.seq}`);
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return true;
  });
  take(1);
  take(2);
  a.take({ revoke: { id: "1-2", seq: 2 }, ack: 3 });
  a.take({ revoke: { id: "1-2", seq: 2 }, ack: 3 });
  a.take({ revoke: { id: "1-9", seq: 9 } });
  take(9);
  for (let i = 0; i < 4; i++) {
    release();
    await settle();
  }
  assert.deepEqual(shown, [1, "revoke 2", "revoke 9"]);
  assert.deepEqual(acked, [2, 9, 1, 3], "without a number a revocation is not acknowledged");
});

test("frames are read as they are, and what is none is said to be none", () => {
  assert.deepEqual(readFrame(JSON.stringify(pushFrame(5, { expire: 0, novel: 1 }))), {
    t: "push",
    push: {
      id: "1-5",
      seq: 5,
      from: "admin",
      at: new Date(1_700_000_000_005),
      expire: null,
      body: [{ MsgType: "TIMTextElem", MsgContent: { Text: "text 5" } }],
    },
  });
  assert.deepEqual(readFrame('{"t":"revoke","id":"1-42","seq":42,"ack":57}'), {
    t: "revoke",
    revoke: { id: "1-42", seq: 42 },
    ack: 57,
  });
  assert.deepEqual(readFrame('{"t":"revoke","id":"1-42","seq":42}'), { t: "revoke", revoke: { id: "1-42", seq: 42 } });
  assert.equal(readFrame('{"t":"news"}'), undefined);
  assert.equal(readFrame("{}"), undefined);
  for (const bad of [
    "",
    "null",
    "[]",
    "1",
    "{",
    '{"t":"push"}',
    '{"t":"hello"}',
    '{"t":"revoke","id":"x","seq":-1}',
    new ArrayBuffer(2),
  ]) {
    assert.throws(() => readFrame(bad), Error, String(bad));
  }
  for (const member of ["id", "seq", "from", "at", "expire", "body"]) {
    assert.throws(() => readFrame(JSON.stringify(pushFrame(1, { [member]: undefined }))), Error, member);
  }
});

test("no frame makes the reader fail otherwise", () => {
  const random = seeded(3);
  const whole = JSON.stringify(pushFrame(5));
  for (let i = 0; i < 20_000; i++) {
    const at = Math.floor(random() * whole.length);
    const mutated =
      whole.slice(0, at) + String.fromCharCode(random() * 128) + whole.slice(at + Math.floor(random() * 9));
    try {
      readFrame(mutated);
    } catch (error) {
      assert.ok(error instanceof Error && !(error instanceof TypeError), `${mutated}: ${error}`);
    }
  }
});

test("close codes are judged as the contract has them", () => {
  const cases: [number, string][] = [
    [1000, "network"],
    [1001, "draining"],
    [1006, "network"],
    [1011, "network"],
    [4001, "refused"],
    [4002, "refused"],
    [4003, "busy"],
    [4004, "protocol"],
    [4005, "refused"],
    [4999, "network"],
  ];
  for (const [code, want] of cases) {
    const v = judgeClose({ code, reason: "" });
    assert.equal(v.name === "refused" ? v.name : v.reason.kind, want, `${code}`);
    const info = v.name === "refused" ? v.info : v.reason.info;
    assert.ok(info.length > 5);
  }
});

test("refusals are judged by their status", async () => {
  const ask = (status: number, body: unknown, headers = {}) => {
    const get = (async () =>
      new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers })) as typeof fetch;
    return judgeRefusal(get, "ws://host/v1/session", new AbortController().signal);
  };
  const fail = { ActionStatus: "FAIL", ErrorInfo: "the signature has expired", ErrorCode: 70001 };
  assert.deepEqual(await ask(401, fail), { name: "refused", status: 401, code: 70001, info: fail.ErrorInfo });
  assert.deepEqual(await ask(403, "a proxy's page"), { name: "refused", status: 403, code: 0, info: "HTTP 403" });
  assert.deepEqual(await ask(429, { ...fail, ErrorCode: 60007 }, { "Retry-After": "7" }), {
    name: "again",
    reason: { kind: "busy", code: 60007, info: fail.ErrorInfo },
    pauseMs: 7000,
  });
  assert.deepEqual(await ask(503, "null", { "Retry-After": "soon" }), {
    name: "again",
    reason: { kind: "busy", code: 0, info: "HTTP 503" },
  });
  const network = { name: "again", reason: { kind: "network", code: 0, info: "the connection could not be made" } };
  assert.deepEqual(await ask(426, fail), network);
  assert.deepEqual(await judgeRefusal(undefined, "ws://host", new AbortController().signal), network);
  const broken = (async () =>
    Promise.reject(new TypeError("failed to fetch ws://host?usersig=secret"))) as typeof fetch;
  assert.deepEqual(await judgeRefusal(broken, "ws://host", new AbortController().signal), network);
});

test("memory reads what it has written, and takes nothing else", async () => {
  const items = new Map<string, string>();
  const storage = {
    getItem: (k: string) => items.get(k),
    setItem: (k: string, v: string) => items.set(k, v),
    removeItem: (k: string) => items.delete(k),
  };
  const memory = () => new Memory(storage, "key", new Seen(10), new Outbox());
  const m = memory();
  m.seen.add(3, 33);
  m.outbox.ack(3, 4);
  m.outbox.open(3);
  await m.save();
  const n = memory();
  await n.load();
  assert.deepEqual([n.seen.list(), n.outbox.list()], [[3, 33], { acks: [3, 4], opened: [3] }]);
  await n.clear();
  assert.equal(items.size, 0);
  assert.deepEqual([n.seen.list(), n.outbox.list()], [[], { acks: [], opened: [] }]);
  for (const text of [
    "",
    "null",
    "{",
    "7",
    '{"v":2,"seen":[],"acks":[1],"opened":[]}',
    '{"v":1,"seen":[],"acks":["x"],"opened":[]}',
  ]) {
    items.set("key", text);
    const strange = memory();
    await strange.load();
    assert.deepEqual(strange.outbox.list(), { acks: [], opened: [] }, text);
  }
});

test("options that cannot be are refused in a sentence, and the URL is the contract's", () => {
  const good: Options = {
    url: "https://push.example.com/base/",
    sdkappid: 7,
    account: "小明",
    usersig: "s+/=",
    WebSocket: FakeSocket,
  };
  assert.equal(
    settings({ ...good, platform: "iPad", device: "d&1" }).url("s+/="),
    "wss://push.example.com/base/v1/session?sdkappid=7&identifier=%E5%B0%8F%E6%98%8E&platform=iPad&device=d%261&usersig=s%2B%2F%3D",
  );
  const bad: Partial<Record<keyof Options, unknown>>[] = [
    { url: "push.example.com" },
    { url: "ftp://push.example.com" },
    { sdkappid: 0 },
    { sdkappid: "7" },
    { account: "" },
    { account: "x".repeat(33) },
    { account: "小".repeat(11) },
    { usersig: "" },
    { usersig: undefined },
    { gatherMs: -1 },
    { gatherMs: Number.NaN },
    { firstPauseMs: 100, maxPauseMs: 50 },
    { maxWaiting: 0 },
  ];
  for (const b of bad) assert.throws(() => settings({ ...good, ...b } as Options), TypeError, JSON.stringify(b));
});
