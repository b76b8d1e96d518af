import assert from "node:assert/strict";
import { test } from "node:test";
import { pushFrame, settle } from "./fake.js";
import { FakeStorage, Stage } from "./stage.js";

test("acknowledgements are gathered for a second, and at most 1024 to a frame", async () => {
  const s = new Stage();
  const socket = await s.begin();
  for (let seq = 1; seq <= 3; seq++) socket.say(pushFrame(seq));
  await s.env.advance(999);
  assert.equal(socket.sent.length, 0);
  await s.env.advance(1);
  assert.deepEqual(socket.sent, [{ t: "ack", seq: [1, 2, 3] }]);
  for (let seq = 4; seq < 4 + 1030; seq++) {
    socket.say(pushFrame(seq));
    if (seq % 100 === 0) await settle(); // or too many would wait
  }
  await settle();
  assert.equal(socket.sent.length, 2, "a full frame waits for nobody");
  await s.env.advance(1000);
  assert.deepEqual(
    socket.sent.map((f) => [f.seq].flat().length),
    [3, 1024, 6],
  );
});

test("a push is acknowledged once its handler has finished", async () => {
  const s = new Stage({ gatherMs: 0 });
  const socket = await s.begin();
  let finish = () => {};
  s.handle = () =>
    new Promise<void>((resolve) => {
      finish = resolve;
    });
  socket.say(pushFrame(1));
  await s.env.advance(60_000);
  assert.deepEqual(socket.sent, []);
  finish();
  await s.env.advance(0);
  assert.deepEqual(socket.sent, [{ t: "ack", seq: [1] }]);
});

test("a push whose handler fails is told of, and comes again", async () => {
  const s = new Stage({ gatherMs: 0 });
  let socket = await s.begin();
  s.handle = (seq) => (seq === 1 ? Promise.reject(new Error("no")) : undefined);
  socket.say(pushFrame(1));
  socket.say(pushFrame(2));
  await s.env.advance(0);
  assert.deepEqual(s.shown, [2]);
  assert.deepEqual(socket.sent, [{ t: "ack", seq: [2] }]);
  assert.equal(s.errors[0]?.push?.seq, 1);
  socket.end(1006);
  await s.env.advance(200);
  s.handle = () => {};
  socket = s.socket;
  socket.hello(1);
  socket.say(pushFrame(1));
  await s.env.advance(0);
  assert.deepEqual(s.shown, [2, 1]);
  assert.deepEqual(socket.sent, [{ t: "ack", seq: [1] }]);
});

test("what could not be acknowledged is, first thing on the next session; what comes again is not shown", async () => {
  const s = new Stage();
  const first = await s.begin();
  first.say(pushFrame(1));
  await settle();
  first.end(1006);
  await s.env.advance(5000);
  assert.deepEqual(first.sent, []);
  s.socket.open();
  assert.deepEqual(s.socket.sent, [{ t: "ack", seq: [1] }]);
  s.socket.hello(1);
  s.socket.say(pushFrame(1));
  await s.env.advance(1000);
  assert.deepEqual(s.shown, [1]);
  assert.deepEqual(s.socket.seqs("ack"), [1, 1]);
});

test("attempts pause longer and longer, and anew after a session that was open for a while", async () => {
  const s = new Stage();
  s.session.start();
  for (const pause of [100, 200, 400, 800]) {
    await settle();
    s.socket.end(1006);
    await s.env.advance(pause);
  }
  assert.deepEqual(
    s.states.filter((x) => x !== "connecting"),
    ["network 100", "network 200", "network 400", "network 800"],
  );
  s.socket.hello();
  await s.env.advance(4_999);
  s.socket.end(1006);
  await settle();
  assert.equal(s.states.at(-1), "network 1600", "it was open for too short a time");
  await s.env.advance(1600);
  s.socket.hello();
  await s.env.advance(5_000);
  s.socket.end(1006);
  await settle();
  assert.equal(s.states.at(-1), "network 100");
});

test("pauses are drawn from nothing to their limit", async () => {
  const s = new Stage();
  s.env.random = () => 0.25;
  s.session.start();
  await settle();
  s.socket.end(1006);
  await settle();
  assert.equal(s.states.at(-1), "network 50");
});

test("a usersig is asked for at each attempt, and its failure is no end", async () => {
  let asked = 0;
  const s = new Stage({
    usersig: () => {
      if (++asked === 2) throw new Error("secret");
      return `sig${asked}`;
    },
  });
  const socket = await s.begin();
  assert.match(socket.url, /usersig=sig1$/);
  socket.end(1006);
  await s.env.advance(100);
  assert.equal(s.states.at(-1), "usersig 200");
  assert.equal(s.errors[0]?.doing, "ask for a usersig");
  await s.env.advance(200);
  assert.match(s.socket.url, /usersig=sig3$/);
});

test("a usersig function that never answers, and a service that never says hello, are given up", async () => {
  let asked = 0;
  const s = new Stage({ usersig: () => (++asked === 1 ? new Promise<string>(() => {}) : "sig") });
  s.session.start();
  await s.env.advance(15_000);
  assert.equal(s.states.at(-1), "network 100");
  assert.equal(s.sockets.length, 0);
  await s.env.advance(100);
  s.socket.polite = false;
  s.socket.open();
  await s.env.advance(15_000);
  assert.equal(s.states.at(-1), "network 200");
  assert.equal(s.socket.readyState, 2, "the silent connection was let go");
});

test("a refused login is final, and start tries again", async () => {
  const s = new Stage();
  s.probe = Response.json({ ActionStatus: "FAIL", ErrorInfo: "expired", ErrorCode: 70001 }, { status: 401 });
  s.session.start();
  await settle();
  s.socket.end(1006);
  await settle();
  assert.deepEqual(s.session.state, { name: "refused", status: 401, code: 70001, info: "expired" });
  await s.env.advance(100_000);
  assert.equal(s.sockets.length, 1);
  assert.equal(s.env.left, 0);
  await s.begin();
  assert.equal(s.session.state.name, "open");
});

test("a busy service is tried again, not before it said", async () => {
  const s = new Stage();
  s.probe = Response.json(
    { ErrorInfo: "too many", ErrorCode: 60007 },
    { status: 429, headers: { "Retry-After": "3" } },
  );
  s.session.start();
  await settle();
  s.socket.end(1006);
  await settle();
  assert.equal(s.states.at(-1), "busy 3000");
  await s.env.advance(3000);
  assert.equal(s.sockets.length, 2);
});

test("a probe that never answers is given up", async () => {
  const never: typeof fetch = (_, init) =>
    new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  const s = new Stage({ fetch: never });
  s.session.start();
  await settle();
  s.socket.end(1006);
  await s.env.advance(4_999);
  assert.equal(s.states.at(-1), "connecting");
  await s.env.advance(1);
  assert.equal(s.states.at(-1), "network 100");
});

for (const code of [4001, 4002, 4005]) {
  test(`close code ${code} is final`, async () => {
    const s = new Stage();
    (await s.begin()).end(code, "because");
    await s.env.advance(100_000);
    assert.deepEqual(s.session.state, { name: "refused", status: 0, code, info: "because" });
    assert.equal(s.sockets.length, 1);
  });
}

for (const code of [1000, 1011, 4003, 4004]) {
  test(`close code ${code} is followed by another attempt`, async () => {
    const s = new Stage();
    (await s.begin()).end(code);
    await s.env.advance(200);
    assert.equal(s.sockets.length, 2);
  });
}

test("clients of a draining service come back after half a second to five", async () => {
  const s = new Stage();
  const pauses = [];
  for (const random of [0, 0.5, 1 - Number.EPSILON]) {
    s.env.random = () => random;
    const socket = await s.begin();
    socket.end(1001);
    await settle();
    pauses.push(s.states.at(-1));
    await s.session.stop();
  }
  assert.deepEqual(pauses, ["draining 500", "draining 2750", "draining 5000"]);
});

test("the page's network: gone, the session ends; back, it is tried at once", async () => {
  const s = new Stage();
  const socket = await s.begin();
  s.env.net = false;
  s.env.fire("offline");
  await settle();
  assert.equal(s.states.at(-1), "offline 100");
  assert.equal(socket.readyState, 3);
  await s.env.advance(100);
  s.socket.end(1006);
  await settle();
  assert.equal(s.states.at(-1), "offline 200");
  s.env.net = true;
  s.env.fire("online");
  await settle();
  assert.deepEqual([s.sockets.length, s.states.at(-1)], [3, "connecting"]);
  s.env.fire("online"); // an attempt from before it may hang
  await s.env.advance(0);
  assert.deepEqual([s.sockets.length, s.states.at(-1)], [4, "connecting"]);
  s.socket.hello();
  s.env.fire("online");
  await settle();
  assert.deepEqual([s.sockets.length, s.session.state.name], [4, "open"]);
});

test("a device that was asleep connects again", async () => {
  const s = new Stage();
  await s.begin();
  await s.env.advance(600_000);
  assert.equal(s.sockets.length, 1);
  s.env.sleep(600_000);
  await s.env.advance(0);
  assert.equal(s.sockets.length, 2);
});

test("stop acknowledges what was handled, waits for the handler, and shows nothing more", async () => {
  const s = new Stage();
  const socket = await s.begin();
  let finish = () => {};
  s.handle = (seq) => seq === 2 && new Promise<void>((resolve) => (finish = resolve));
  for (const seq of [1, 2, 3]) socket.say(pushFrame(seq));
  await settle();
  const stopped = s.session.stop();
  await settle();
  assert.deepEqual(socket.sent, []);
  finish();
  await stopped;
  assert.deepEqual([s.shown, socket.sent, socket.closed], [[1, 2], [{ t: "ack", seq: [1, 2] }], 1000]);
  assert.deepEqual([s.session.state.name, s.env.left], ["closed", 0]);
  await s.session.stop();
});

test("stop in a handler does not hang for ever", async () => {
  const s = new Stage();
  const socket = await s.begin();
  s.handle = () => s.session.stop();
  socket.say(pushFrame(1));
  await s.env.advance(5_000);
  assert.equal(s.session.state.name, "closed");
});

test("stop ends whatever is under way", async () => {
  const never = new Promise<string>(() => {});
  for (const [what, go] of Object.entries({
    start: async () => {},
    usersig: async () => settle(),
    connecting: async (s: Stage) => {
      await settle();
      assert.equal(s.sockets.length, 1);
    },
    waiting: async (s: Stage) => {
      await settle();
      s.socket.end(1006);
      await settle();
    },
    "a deaf service": async (s: Stage) => {
      await settle();
      s.socket.polite = false;
      s.socket.hello();
    },
  })) {
    const s = new Stage(what === "usersig" ? { usersig: () => never } : {});
    s.session.start();
    await go(s);
    const stopped = s.session.stop();
    await s.env.advance(2000);
    await stopped;
    assert.deepEqual([s.session.state.name, s.env.left], ["closed", 0], what);
  }
});

test("stop from a handler of the state is heeded at once", async () => {
  for (const name of ["connecting", "open", "waiting"]) {
    const s = new Stage();
    s.session.on("state", (state) => void (state.name === name && s.session.stop()));
    s.session.start();
    await settle();
    if (name === "open") s.socket.hello();
    if (name === "waiting") s.socket.end(1006);
    await s.env.advance(100_000);
    assert.deepEqual([s.session.state.name, s.env.left], ["closed", 0], name);
    assert.equal(s.sockets.length, name === "connecting" ? 0 : 1);
  }
});

test("start during a stop waits for it", async () => {
  const s = new Stage();
  await s.begin();
  const stopped = s.session.stop();
  s.session.start();
  s.session.start();
  await stopped;
  await settle();
  assert.equal(s.sockets.length, 2);
  s.socket.hello();
  assert.equal(s.session.state.name, "open");
});

test("logout tells the service and forgets everything", async () => {
  const storage = new FakeStorage();
  const s = new Stage({ storage });
  const socket = await s.begin();
  s.session.registerDevice({ channel: "fcm", token: "t" });
  socket.say(pushFrame(1));
  await s.env.advance(0);
  assert.equal(storage.items.size, 1);
  socket.heard = (f) => f.t === "logout" && socket.end(1000, "logged out");
  await s.session.logout();
  assert.deepEqual(
    socket.sent.map((f) => f.t),
    ["device", "ack", "logout"],
  );
  assert.deepEqual([s.session.state.name, storage.items.size, s.env.left], ["closed", 0, 0]);
  const again = await s.begin();
  assert.deepEqual(again.sent, [], "the device is forgotten");
});

test("logout connects first where necessary, and shows nothing", async () => {
  const s = new Stage();
  const done = s.session.logout();
  await settle();
  s.socket.hello(1);
  s.socket.say(pushFrame(1));
  await settle();
  s.socket.end(1006); // before the service has heard
  await s.env.advance(200);
  s.socket.hello(1);
  assert.deepEqual(s.socket.sent, [{ t: "logout" }]);
  s.socket.end(1000);
  await done;
  assert.deepEqual(s.shown, []);
});

test("logout says when the service could not be told", async () => {
  const s = new Stage();
  const done = assert.rejects(s.session.logout(), /could not be told/);
  await s.env.advance(10_000);
  await done;
  assert.deepEqual([s.session.state.name, s.env.left], ["closed", 0]);
  s.probe = Response.json({ ErrorInfo: "unknown app", ErrorCode: 60006 }, { status: 403 });
  const refused = assert.rejects(s.session.logout(), /unknown app/);
  await settle();
  s.socket.end(1006);
  await refused;
});

test("opened and devices wait for a session; devices are said again on each", async () => {
  const s = new Stage();
  s.session.opened(7, 8);
  s.session.registerDevice({ channel: "webpush", token: "t" });
  const device = { t: "device", channel: "webpush", token: "t" };
  const first = await s.begin();
  assert.deepEqual(first.sent, [{ t: "opened", seq: [7, 8] }, device]);
  s.session.opened(9);
  assert.deepEqual(first.sent.at(-1), { t: "opened", seq: [9] });
  first.end(1006);
  await s.env.advance(200);
  s.socket.hello();
  assert.deepEqual(s.socket.sent, [device]);
  s.session.removeDevice({ channel: "webpush", token: "t" });
  assert.deepEqual(s.socket.sent.at(-1), { ...device, remove: true });
});

test("a revocation is told in its turn and acknowledged by its own number", async () => {
  const s = new Stage({ gatherMs: 0 });
  const revoked: number[] = [];
  s.session.on("revoke", async (r) => void revoked.push(r.seq));
  const socket = await s.begin();
  socket.say(pushFrame(42));
  await s.env.advance(0);
  socket.say({ t: "revoke", id: "1-42", seq: 42, ack: 57 });
  socket.say({ t: "revoke", id: "1-41", seq: 41 });
  await s.env.advance(0);
  assert.deepEqual(
    [revoked, socket.seqs("ack")],
    [
      [42, 41],
      [42, 57],
    ],
  );
  socket.say({ t: "revoke", id: "1-42", seq: 42, ack: 57 });
  await s.env.advance(0);
  assert.deepEqual(
    [revoked, socket.seqs("ack")],
    [
      [42, 41],
      [42, 57, 57],
    ],
    "told once, acknowledged again",
  );
});

test("a handler that is too slow interrupts the session until it has caught up", async () => {
  const s = new Stage({ maxWaiting: 2 });
  const release: (() => void)[] = [];
  s.handle = () => new Promise<void>((resolve) => release.push(resolve));
  const socket = await s.begin();
  for (let seq = 1; seq <= 5; seq++) socket.say(pushFrame(seq));
  await settle();
  assert.equal(s.states.at(-1), "handler Infinity");
  s.env.fire("online");
  await s.env.advance(1_000_000);
  assert.equal(s.sockets.length, 1);
  for (let i = 0; i < 3; i++) {
    release.shift()?.();
    await settle();
  }
  assert.deepEqual([s.shown, s.sockets.length], [[1, 2, 3], 2]);
  s.socket.hello(5);
  assert.deepEqual(s.socket.sent, [{ t: "ack", seq: [1, 2, 3] }]);
  for (let seq = 1; seq <= 5; seq++) s.socket.say(pushFrame(seq));
  for (let i = 0; i < 2; i++) {
    await settle();
    release.shift()?.();
  }
  await settle();
  assert.deepEqual(s.shown, [1, 2, 3, 4, 5]);
});

test("a frame that is none is told of, and the others come through", async () => {
  const s = new Stage();
  const socket = await s.begin();
  for (const f of ["nonsense", { t: "push" }, { t: "news" }, pushFrame(1)]) socket.say(f);
  await settle();
  assert.deepEqual([s.shown, s.errors.length, s.session.state.name], [[1], 2, "open"]);
});

test("what is remembered survives a reload of the page", async () => {
  const storage = new FakeStorage();
  const first = new Stage({ storage });
  const socket = await first.begin();
  socket.say(pushFrame(1));
  await first.env.advance(500); // shown and stored, and not acknowledged yet
  socket.readyState = 3; // the page is gone
  const second = new Stage({ storage });
  second.session.start();
  await settle();
  second.socket.open();
  assert.deepEqual(second.socket.sent, [{ t: "ack", seq: [1] }]);
  second.socket.hello(1);
  second.socket.say(pushFrame(1));
  await second.env.advance(1000);
  assert.deepEqual([second.shown, second.socket.seqs("ack")], [[], [1, 1]]);
});

test("a page that goes away sends and stores what there is", async () => {
  for (const event of ["pagehide", "visibilitychange"]) {
    const storage = new FakeStorage();
    const s = new Stage({ storage });
    const socket = await s.begin();
    socket.say(pushFrame(1));
    await settle();
    s.env.fire(event);
    assert.deepEqual(socket.sent, [{ t: "ack", seq: [1] }]);
    assert.match(storage.items.get("carillon:1:u1") ?? "", /"seen":\[1,\d+\],"acks":\[\]/);
  }
});

test("a storage that fails is told of, and nothing else suffers", async () => {
  const fail = () => Promise.reject(new Error("full"));
  const s = new Stage({ storage: { getItem: fail, setItem: fail, removeItem: fail } });
  const socket = await s.begin();
  socket.say(pushFrame(1));
  await s.env.advance(1000);
  assert.deepEqual(s.shown, [1]);
  assert.deepEqual(
    s.errors.map((e) => e.doing),
    ["read what is stored", "store what is to be remembered"],
  );
});

test("a service that began anew is not taken for the old one", async () => {
  const s = new Stage();
  const socket = await s.begin();
  socket.say(pushFrame(1));
  await settle();
  socket.say(pushFrame(1, { at: 1_900_000_000_000 }));
  await settle();
  assert.deepEqual(s.shown, [1, 1]);
});

test("handlers are told in their order, and until they are removed", async () => {
  const s = new Stage();
  const log: string[] = [];
  const a = s.session.on("push", async () => {
    await settle();
    log.push("a");
  });
  s.session.on("push", () => void log.push("b"));
  s.session.on("hello", () => {
    throw new Error("no");
  });
  s.session.on("hello", (h) => void log.push(`hello ${h.pending} ${h.heartbeat} ${h.session}`));
  const socket = await s.begin(1);
  socket.say(pushFrame(1));
  await settle();
  await settle();
  a();
  socket.say(pushFrame(2));
  await settle();
  assert.deepEqual(log, ["hello 1 60 s", "a", "b", "b"]);
  assert.equal(s.errors[0]?.doing, "tell a handler of hello");
});

test("a WebSocket that cannot be made is an attempt that failed, and tells no secret", async () => {
  class Never {
    constructor(url: string) {
      throw new SyntaxError(`the URL '${url}' is not allowed`);
    }
  }
  const s = new Stage({ WebSocket: Never as never, usersig: "secret" });
  const told: string[] = [];
  s.session.on("state", (state) => void told.push(JSON.stringify(state)));
  s.session.start();
  await settle();
  assert.equal(s.states.at(-1), "network 100");
  assert.match(told.join(), /SyntaxError/);
  assert.doesNotMatch(told.join(), /secret/);
});
