import type { WebSocketClass } from "./link.js";
import type { StorageLike } from "./memory.js";

/** The platforms of the contract: what operators see of an online user. */
export type Platform = "Web" | "Android" | "iOS" | "iPad" | "Windows" | "Mac" | "Linux";

/** Who listens, and where. */
export interface Options {
  /** The base of the service's sessions, such as wss://push.example.com; http and https are taken for ws and wss. */
  url: string;
  sdkappid: number;
  /** The user's own account, 1 to 32 bytes. */
  account: string;
  /** A signature for the account, or what fetches one: it is asked at each attempt, so that none is too old. */
  usersig: string | (() => string | Promise<string>);
  /** What operators see; the service takes Web when there is none. */
  platform?: Platform;
  /** The app's name for this device. */
  device?: string;
  /** For so long acknowledgements wait for others to share a frame; 1000. */
  gatherMs?: number;
  /** The limit of the first pause between attempts, which doubles with each; 200. */
  firstPauseMs?: number;
  /** The longest such limit; 30000. */
  maxPauseMs?: number;
  /** So many pushes may wait for the handler. For more the session is interrupted until it has caught up; 1024. */
  maxWaiting?: number;
  /** Where to remember what was shown and what is yet to be sent: sessionStorage, localStorage, or the like. */
  storage?: StorageLike;
  /** The name in storage; carillon:<sdkappid>:<account>. */
  storageKey?: string;
  /** The WebSocket class; the global one. Node 20 has none: pass that of the package ws. */
  WebSocket?: WebSocketClass;
  /** What asks for the cause of a failed connection; the global one. */
  fetch?: typeof fetch;
}

/** Options with nothing left open. */
export interface Settings {
  /** Where to connect with a signature. */
  url(usersig: string): string;
  usersig(): Promise<string>;
  gatherMs: number;
  firstPauseMs: number;
  maxPauseMs: number;
  maxWaiting: number;
  storage: StorageLike | undefined;
  storageKey: string;
  WebSocket: WebSocketClass;
  fetch: typeof fetch | undefined;
}

const maxAccount = 32;
const maxAppID = 0xffffffff;

/** Fills in the defaults. It throws a TypeError that says what cannot be. */
export function settings(o: Options): Settings {
  if (!Number.isInteger(o.sdkappid) || o.sdkappid < 1 || o.sdkappid > maxAppID) {
    throw new TypeError(`sdkappid is ${o.sdkappid}; it must be a whole number from 1 to ${maxAppID}`);
  }
  const bytes = new TextEncoder().encode(o.account).length;
  if (typeof o.account !== "string" || bytes < 1 || bytes > maxAccount) {
    throw new TypeError(`account must be a string of 1 to ${maxAccount} bytes`);
  }
  if (typeof o.usersig !== "function" && (typeof o.usersig !== "string" || o.usersig === "")) {
    throw new TypeError("usersig must be a signature, or a function that gives one");
  }
  const firstPauseMs = duration("firstPauseMs", o.firstPauseMs, 200);
  const maxPauseMs = duration("maxPauseMs", o.maxPauseMs, 30_000);
  if (maxPauseMs < firstPauseMs) throw new TypeError("maxPauseMs must not be less than firstPauseMs");
  const maxWaiting = o.maxWaiting ?? 1024;
  if (!Number.isInteger(maxWaiting) || maxWaiting < 1)
    throw new TypeError("maxWaiting must be a whole number, at least 1");
  const WebSocket = o.WebSocket ?? (globalThis.WebSocket as WebSocketClass | undefined);
  if (WebSocket === undefined) {
    throw new TypeError("there is no WebSocket here: pass one as the option WebSocket, such as that of the package ws");
  }
  const { usersig } = o;
  return {
    url: address(o),
    usersig: async () => (typeof usersig === "string" ? usersig : await usersig()),
    gatherMs: duration("gatherMs", o.gatherMs, 1000),
    firstPauseMs,
    maxPauseMs,
    maxWaiting,
    storage: o.storage,
    storageKey: o.storageKey ?? `carillon:${o.sdkappid}:${o.account}`,
    WebSocket,
    fetch: o.fetch ?? globalThis.fetch,
  };
}

/** Longer ones than setTimeout takes are none. */
const maxDuration = 0x7fffffff;

function duration(name: string, ms: number | undefined, otherwise: number): number {
  if (ms === undefined) return otherwise;
  if (!(ms >= 0 && ms <= maxDuration)) throw new TypeError(`${name} must be milliseconds, from 0 to ${maxDuration}`);
  return ms;
}

function address(o: Options): (usersig: string) => string {
  const base = parse(o.url);
  if (base === undefined || !/^(ws|http)s?:$/.test(base.protocol)) {
    throw new TypeError("url must be the base of the sessions, such as wss://push.example.com");
  }
  base.protocol = base.protocol.replace("http", "ws");
  base.pathname = `${base.pathname.replace(/\/+$/, "")}/v1/session`;
  base.hash = ""; // a WebSocket refuses one
  base.searchParams.set("sdkappid", String(o.sdkappid));
  base.searchParams.set("identifier", o.account);
  if (o.platform !== undefined) base.searchParams.set("platform", o.platform);
  if (o.device !== undefined) base.searchParams.set("device", o.device);
  return (usersig) => {
    const u = new URL(base);
    u.searchParams.set("usersig", usersig);
    return u.href;
  };
}

function parse(url: string): URL | undefined {
  try {
    return new URL(url);
  } catch {
    return undefined;
  }
}
