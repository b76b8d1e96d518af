import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isElement,
  type MessageElement,
  type Push,
  Session,
  type State,
  type StorageLike,
} from "@carillon-push/client";
import { WebSocket as WS } from "ws";

// What matters here is that it compiles: tsc runs before the tests.
test("the types serve those who use them", () => {
  const elements: MessageElement[] = [
    { MsgType: "TIMTextElem", MsgContent: { Text: "hello" } },
    { MsgType: "TIMLocationElem", MsgContent: { Desc: "here", Latitude: 1, Longitude: 2 } },
    { MsgType: "TIMLaterElem", MsgContent: { novel: true } },
  ];
  const seen: (string | number | unknown)[] = [];
  for (const e of elements) {
    if (isElement(e, "TIMTextElem")) seen.push(e.MsgContent.Text.length);
    else if (isElement(e, "TIMLocationElem")) seen.push(e.MsgContent.Latitude.toFixed(1));
    else seen.push(e.MsgContent);
  }
  assert.deepEqual(seen, [5, "1.0", { novel: true }]);

  const browsers: StorageLike = null as unknown as globalThis.Storage;
  const s = new Session({
    url: "ws://127.0.0.1",
    sdkappid: 1,
    account: "u1",
    usersig: async () => "sig",
    WebSocket: WS,
    ...(browsers ? { storage: browsers } : {}),
  });
  const off: () => void = s.on("push", async (push: Push) => push.expire?.getTime());
  off();
  // @ts-expect-error there is no such event
  assert.throws(() => s.on("nothing", () => {}), TypeError);
  // @ts-expect-error environments are for tests of the SDK itself
  new Session({ url: "ws://127.0.0.1", sdkappid: 1, account: "u1", usersig: "s", WebSocket: WS }, undefined);
  const state: State = s.state;
  if (state.name === "waiting") state.delayMs.toFixed();
  if (state.name === "refused") state.code.toFixed();
  assert.throws(() => s.start(), /nobody listens/);
});
