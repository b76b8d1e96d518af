// Prints the pushes for one user, until it is interrupted:
//
//   node listen.mjs ws://127.0.0.1:8081 1400000001 u1 <usersig>
import { isElement, Session } from "@carillon-push/client";

const [url, sdkappid, account, usersig] = process.argv.slice(2);
const WebSocket = globalThis.WebSocket ?? (await import("ws")).WebSocket; // Node 20 has none of its own

const session = new Session({ url, sdkappid: Number(sdkappid), account, usersig, platform: "Linux", WebSocket });

session.on("push", async (push) => {
  for (const element of push.body) {
    if (isElement(element, "TIMTextElem")) console.log(`${push.from}: ${element.MsgContent.Text}`);
    else console.log(`${push.from}: [${element.MsgType}]`);
  }
});
session.on("revoke", ({ seq }) => console.log(`push ${seq} was cancelled`));
session.on("state", (state) => {
  if (state.name === "waiting") console.error(`${state.reason.info}; again in ${state.delayMs} ms`);
  else console.error(state.name);
  if (state.name === "refused") {
    console.error(`${state.code}: ${state.info}`);
    process.exitCode = 1;
  }
});

process.once("SIGINT", () => session.stop());
session.start();
