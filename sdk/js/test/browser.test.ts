import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { launch } from "./browser.js";
import type { Remote, Wish } from "./client.js";
import { Pages } from "./page.js";
import { scenarios } from "./scenarios.js";

/** What blank.html has. */
interface Blank {
  ready?: boolean;
  open_(wish: Wish): number;
  call(i: number, method: string, args: unknown[]): Promise<unknown>;
}

let browser: Browser;
let pages: Pages;
let context: BrowserContext;
let page: Page;

/** Loads a page that opens clients. */
async function load(p: Page): Promise<void> {
  await p.goto(`${pages.url}/test/blank.html`);
  await p.waitForFunction(() => (globalThis as unknown as Blank).ready);
}

async function openIn(p: Page, wish: Wish): Promise<Remote> {
  const i = await p.evaluate((w) => (globalThis as unknown as Blank).open_(w), wish);
  const call = (method: string, args: unknown[]) =>
    p.evaluate(([i, m, a]) => (globalThis as unknown as Blank).call(i, m, a), [i, method, args] as const);
  return new Proxy({} as Remote, {
    // Nothing that is awaited must look like a promise.
    get: (_, method) => (method === "then" ? undefined : (...args: unknown[]) => call(String(method), args)),
  });
}

before(async () => {
  browser = await launch();
  pages = await Pages.start();
  context = await browser.newContext();
  page = await context.newPage();
  await load(page);
});
after(async () => {
  await browser?.close();
  await pages?.close();
});

const { service, wish } = scenarios({ open: (w) => openIn(page, w) });

test("a reload of the page neither loses a push nor shows one twice", { timeout: 60_000 }, async () => {
  const account = "reloads";
  await service().account(account);
  const own = await context.newPage();
  await load(own);
  const c = await openIn(own, await wish(account, { remembers: true, loseAcks: true }));
  await c.greeted(1);
  await service().push(account, "before");
  await c.received(1);
  await own.reload();
  await own.waitForFunction(() => (globalThis as unknown as Blank).ready);
  const d = await openIn(own, await wish(account, { remembers: true }));
  assert.equal(await d.greeted(1), 1, "its acknowledgement was lost");
  await service().push(account, "behind");
  assert.deepEqual(await d.received(1), ["behind"]);
  await d.stop();
  const e = await openIn(own, await wish(account));
  assert.equal(await e.greeted(1), 0, "both are acknowledged");
  await e.stop();
  await own.close();
});

test("a page that is closed acknowledges what it has shown", { timeout: 60_000 }, async () => {
  const account = "closes";
  await service().account(account);
  const own = await context.newPage();
  await load(own);
  const c = await openIn(own, await wish(account, { gatherMs: 3_600_000 }));
  await c.greeted(1);
  await service().push(account, "seen");
  await c.received(1);
  const closed = own.waitForEvent("close");
  await own.close({ runBeforeUnload: true });
  await closed;
  await service().gone(account);
  const d = await openIn(page, await wish(account));
  assert.equal(await d.greeted(1), 0);
  await d.stop();
});

test("a page notices that its network is gone, and that it is back", { timeout: 60_000 }, async () => {
  const account = "network";
  await service().account(account);
  const c = await openIn(page, await wish(account));
  await c.greeted(1);
  await context.setOffline(true);
  const state = await c.reached("waiting");
  assert.equal(state.name === "waiting" && state.reason.kind, "offline");
  await service().push(account, "meanwhile");
  await context.setOffline(false);
  assert.deepEqual(await c.received(1), ["meanwhile"]);
  await c.stop();
});
