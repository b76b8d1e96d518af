import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { launch } from "./browser.js";
import { Pages } from "./page.js";
import { root, Service } from "./service.js";

let service: Service;
before(async () => {
  service = await Service.start();
});
after(() => service.close());

test("the Node example prints what comes, and ends in good order", { timeout: 60_000 }, async () => {
  await service.account("reader");
  await service.push("reader", "for later");
  const { sessions, sdkappid } = service;
  const args = ["examples/listen.mjs", sessions, String(sdkappid), "reader", await service.usersig("reader")];
  const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, "administrator: for later");
  await service.push("reader", "for now", 0);
  assert.equal((await lines.next()).value, "administrator: for now");
  const exit = once(child, "exit");
  child.kill("SIGINT");
  assert.deepEqual(await exit, [0, null]);
});

test("the page shows what comes, and takes back what is cancelled", { timeout: 60_000 }, async () => {
  await service.account("viewer");
  const pages = await Pages.start();
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const errors: Error[] = [];
    page.on("pageerror", (e) => errors.push(e));
    await page.goto(`${pages.url}/examples/page.html`);
    await page.getByLabel("Sessions at").fill(service.sessions);
    await page.getByLabel("sdkappid").fill(String(service.sdkappid));
    await page.getByLabel("Account").fill("viewer");
    await page.getByLabel("UserSig").fill(await service.usersig("viewer"));
    await page.getByRole("button").click();
    await page.getByRole("status").getByText("open").waitFor();
    const id = await service.push("viewer", "read <b>me</b>");
    const item = page.getByRole("listitem").filter({ hasText: "administrator: read <b>me</b>" });
    await item.click();
    assert.equal(await item.getAttribute("class"), "opened");
    await service.revoke(id);
    await item.waitFor({ state: "detached" });
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    await pages.close();
  }
});
