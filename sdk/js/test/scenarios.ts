import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Remote, Wish } from "./client.js";
import { Service } from "./service.js";

/** Where clients run: in this process, or in a browser. */
export interface Place {
  open(wish: Wish): Promise<Remote>;
}

/** What a user can live through with the real service, the same in each place. */
export function scenarios(place: Place): {
  service(): Service;
  wish(account: string, more?: Partial<Wish>): Promise<Wish>;
} {
  let service: Service;
  const wish = async (account: string, more: Partial<Wish> = {}): Promise<Wish> => {
    const { sessions: url, sdkappid } = service;
    return { url, sdkappid, account, usersig: await service.usersig(account), gatherMs: 50, ...more };
  };
  let clients: Remote[] = [];
  const open = async (account: string, more: Partial<Wish> = {}) => {
    const c = await place.open(await wish(account, more));
    clients.push(c);
    return c;
  };
  before(async () => {
    service = await Service.start();
  });
  after(() => service.close());
  const scenario = (name: string, f: (account: string) => Promise<void>) => {
    const account = name.replace(/\W+/g, "-").slice(0, 30);
    test(name, { timeout: 60_000 }, async () => {
      await service.account(account);
      try {
        await f(account);
      } finally {
        for (const c of clients) await c.stop();
        clients = [];
      }
    });
  };

  scenario("a push reaches who is online, and once acknowledged it never comes again", async (account) => {
    const c = await open(account);
    assert.equal(await c.greeted(1), 0);
    await service.push(account, "for all who are here", 0);
    await service.push(account, "héllo 小明 🎆");
    assert.deepEqual(await c.received(2), ["for all who are here", "héllo 小明 🎆"]);
    await c.stop();
    assert.equal((await c.reached("closed")).name, "closed");
    const again = await open(account);
    assert.equal(await again.greeted(1), 0);
    await again.stop();
  });

  scenario("pushes wait for who is offline, and come oldest first", async (account) => {
    const texts = ["one", "two", "three", "four"];
    const here = await open(account);
    await here.greeted(1);
    await service.push(account, "for who is here", 0);
    await here.received(1);
    await here.stop();
    for (const text of texts) await service.push(account, text);
    const c = await open(account);
    assert.deepEqual(await c.received(4), texts);
  });

  scenario("a push comes again after a lost acknowledgement, and is not shown again", async (account) => {
    const c = await open(account, { loseAcks: true });
    await c.greeted(1);
    await service.push(account, "once");
    await c.received(1);
    await c.stop();
    const other = await open(account, { loseAcks: true }); // which knows nothing of the first
    assert.equal(await other.greeted(1), 1);
    await other.received(1);
    await service.halt();
    await service.resume();
    assert.equal(await other.greeted(2), 1, "it came again");
    await service.push(account, "more");
    assert.deepEqual(await other.received(2), ["once", "more"]);
    await other.stop();
    const last = await open(account);
    assert.equal(await last.greeted(1), 2);
    assert.deepEqual(await last.received(2), ["once", "more"]);
    await last.stop();
    const after = await open(account);
    assert.equal(await after.greeted(1), 0);
    await after.stop();
  });

  scenario("a session comes back after a restart, with what was pushed meanwhile", async (account) => {
    const c = await open(account);
    await c.greeted(1);
    await service.halt();
    const waiting = await c.reached("waiting");
    assert.equal(waiting.name === "waiting" && waiting.reason.kind, "draining");
    await service.resume();
    await service.push(account, "welcome back");
    assert.deepEqual(await c.received(1), ["welcome back"]);
    await c.stop();
  });

  scenario("a kick is final", async (account) => {
    const c = await open(account);
    await c.greeted(1);
    await service.call("im_open_login_svc/kick", { UserID: account });
    assert.deepEqual(await c.reached("refused"), { name: "refused", status: 0, code: 4001, info: "kicked" });
    const again = await open(account); // a new one is let in
    await again.greeted(1);
    await again.stop();
  });

  scenario("the end of the account is final", async (account) => {
    const c = await open(account);
    await c.greeted(1);
    await service.call("im_open_login_svc/account_delete", { DeleteItem: [{ UserID: account }] });
    assert.deepEqual(await c.reached("refused"), { name: "refused", status: 0, code: 4002, info: "account deleted" });
  });

  scenario("of too many sessions the oldest ends for good", async (account) => {
    const oldest = await open(account);
    await oldest.greeted(1);
    let others = 0;
    let ended = false;
    const end = oldest.reached("refused").finally(() => {
      ended = true;
    });
    while (!ended && others++ < 50) await (await open(account)).greeted(1);
    const state = await end;
    assert.equal(state.name === "refused" && state.code, 4005);
  });

  scenario("a signature that has expired, or is another's, is refused with its code", async (account) => {
    const refused = async (usersig: string) => {
      const state = await (await open(account, { usersig })).reached("refused");
      return state.name === "refused" ? [state.status, state.code] : undefined;
    };
    assert.deepEqual(await refused(await service.usersig(account, -60)), [401, 70001]);
    assert.deepEqual(await refused(await service.usersig("somebody-else")), [401, 70013]);
    assert.deepEqual(await refused("nonsense"), [401, 70003]);
  });

  scenario("what the user opened is told, and the session goes on", async (account) => {
    const c = await open(account);
    await service.push(account, "open me");
    await c.received(1);
    await c.opened();
    await service.push(account, "still here");
    assert.deepEqual(await c.received(2), ["open me", "still here"]);
    assert.equal(await c.sessions(), 1);
  });

  scenario("a device is registered on each session, until it is removed or logged out", async (account) => {
    const [registered, forgotten] = await service.devices();
    const counted = async (r: number, f: number) => {
      for (;;) {
        const now = await service.devices();
        if (now[0] === registered + r && now[1] === forgotten + f) return;
      }
    };
    const c = await open(account);
    await c.register("one");
    await c.greeted(1);
    await counted(1, 0);
    await c.stop();
    await c.start();
    await c.greeted(2);
    await counted(2, 0);
    await c.unregister("one");
    await counted(2, 1);
    await c.register("two");
    await counted(3, 1);
    await c.logout();
    await counted(3, 2);
  });

  scenario("logout ends the session from the service's side", async (account) => {
    const c = await open(account);
    await service.push(account, "before");
    await c.received(1);
    await c.logout();
    assert.equal((await c.reached("closed")).name, "closed");
    const again = await open(account);
    assert.equal(await again.greeted(1), 0, "what was handled was acknowledged");
  });

  scenario("a push that is cancelled is taken back, once; who has not got it never does", async (account) => {
    const c = await open(account);
    const first = await service.push(account, "a mistake");
    await c.received(1);
    await service.revoke(first);
    const [revoked] = await c.revocations(1);
    assert.equal(revoked?.id, first);
    await c.stop();
    const second = await service.push(account, "another");
    await service.revoke(second);
    const again = await open(account);
    assert.equal(await again.greeted(1), 0);
    await service.push(account, "all is well");
    assert.deepEqual(await again.received(1), ["all is well"]);
    assert.deepEqual(await again.revocations(0), []);
  });

  scenario("a push that is cancelled while its reader is away is taken back at the next login", async (account) => {
    const c = await open(account);
    const id = await service.push(account, "a mistake");
    await c.received(1);
    await c.stop();
    await service.revoke(id);
    const back = await open(account);
    const [revoked] = await back.revocations(1);
    assert.equal(revoked?.id, id);
    await back.stop();
    const again = await open(account);
    await again.greeted(1);
    await service.push(account, "all is well");
    await again.received(1);
    assert.deepEqual(await again.revocations(0), [], "it was acknowledged");
  });

  return { service: () => service, wish };
}
