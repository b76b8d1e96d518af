import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeSocket, type Frame, pushFrame, seeded, settle } from "./fake.js";
import { FakeStorage, Stage } from "./stage.js";

// A service as naive as can be, a client that lives through everything that can befall one, and what its user must have
// seen in the end.

/** Keeps every push in a list until it hears an acknowledgement of it. */
class Service {
  readonly kept: Frame[] = [];
  readonly all: Frame[] = [];
  readonly revoked = new Set<number>();
  socket: FakeSocket | undefined;
  /** Nothing gets through any more, and neither end knows. */
  dead = false;
  #next = 1;

  accept(socket: FakeSocket): void {
    this.socket = socket;
    this.dead = false;
    socket.heard = (f) => {
      if (this.dead || f.t !== "ack") return;
      assert.ok((f.seq as number[]).length <= 1024);
      for (const seq of f.seq as number[]) this.#settle(seq);
    };
    const kept = [...this.kept]; // as of the login: what is acknowledged now comes all the same
    socket.hello(kept.length);
    for (const f of kept) socket.say(f);
  }

  push(lives: boolean): void {
    const f = pushFrame(this.#next++, lives ? {} : { expire: 0 });
    this.all.push(f);
    this.#tell(f, lives);
  }

  revoke(f: Frame): void {
    this.revoked.add(f.seq as number);
    this.#settle(f.seq as number);
    this.#tell({ t: "revoke", id: f.id, seq: f.seq, ack: this.#next++ }, true);
  }

  end(code: number): void {
    this.socket?.end(code);
    this.socket = undefined;
  }

  #tell(f: Frame, keep: boolean): void {
    if (keep) this.kept.push(f);
    if (!this.dead) this.socket?.say(f);
  }

  #settle(seq: number): void {
    const i = this.kept.findIndex((f) => (f.ack ?? f.seq) === seq);
    if (i >= 0) this.kept.splice(i, 1);
  }
}

async function live(seed: number): Promise<void> {
  const random = seeded(seed);
  const one = (n: number) => Math.floor(random() * n);
  const service = new Service();
  const storage = new FakeStorage();
  const shown: number[] = []; // to the end, over all pages
  const failed = new Set<number>();
  const options = { storage, gatherMs: one(2) * 1000, maxWaiting: 4 + one(60) };
  let calm = false;

  const load = (): Stage => {
    const s = new Stage(options);
    s.env.random = random;
    s.handle = async (seq) => {
      const wait = calm ? 0 : one(4);
      if (wait > 0) await new Promise<void>((resolve) => void s.env.setTimeout(resolve, wait * 300));
      if (!calm && one(12) === 0) {
        failed.add(seq);
        throw new Error("the app has a bad day");
      }
      shown.push(seq);
    };
    s.session.start();
    return s;
  };
  let page = load();
  const answer = () => {
    const socket = page.sockets.at(-1);
    if (socket?.readyState !== 0) return;
    if (!calm && one(4) === 0) socket.end(1006);
    else service.accept(socket);
  };

  for (let step = 0; step < 150; step++) {
    await settle();
    answer();
    switch (one(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        for (let n = one(8); n >= 0; n--) service.push(one(4) > 0);
        break;
      case 4: {
        const f = service.all[one(service.all.length)];
        if (f !== undefined && f.expire !== 0 && !service.revoked.has(f.seq as number)) service.revoke(f);
        break;
      }
      case 5:
        service.end([1001, 1006, 4003, 4004][one(4)] as number);
        break;
      case 6:
        service.dead = true; // found out later
        break;
      case 7:
        page.env.fire(["offline", "online", "visibilitychange"][one(3)] as string);
        break;
      case 8:
        await settle(); // a page is told of its end between two tasks
        page.env.fire("pagehide");
        service.end(1006);
        page.socket.polite = false;
        page = load(); // time stands still for the old page
        break;
      default:
        await page.env.advance(one(3000));
    }
    if (service.dead && one(3) === 0) service.end(1006);
  }

  calm = true;
  for (let i = 0; i < 200 && (service.kept.length > 0 || i < 3); i++) {
    if (i % 3 === 0) service.end(1006); // what failed comes again with a login
    await page.env.advance(31_000);
    answer();
    await page.env.advance(2_000);
  }

  const at = `seed ${seed}`;
  assert.deepEqual(service.kept, [], `${at}: all is acknowledged`);
  assert.equal(new Set(shown).size, shown.length, `${at}: each is shown once`);
  for (const f of service.all) {
    const seq = f.seq as number;
    if (f.expire !== 0 && !service.revoked.has(seq)) assert.ok(shown.includes(seq), `${at}: ${seq} was never shown`);
  }
  const inOrder = shown.filter((seq) => !failed.has(seq));
  assert.deepEqual(
    inOrder,
    [...inOrder].sort((a, b) => a - b),
    `${at}: in order`,
  );
  await page.session.stop();
  assert.equal(page.env.left, 0, `${at}: nothing is left running`);
}

test("whatever happens, each push is shown once, in order, and acknowledged", async () => {
  for (let seed = 1; seed <= 60; seed++) await live(seed);
});
