import { broken, type Close } from "./link.js";
import type { Reason, Refused } from "./state.js";

/** What follows the end of a connection: nothing more, or another attempt, not before a while. */
export type Verdict = Refused | Again;

/** Another attempt, after at least pauseMs, or at once. */
export interface Again {
  name: "again";
  reason: Reason;
  pauseMs?: number;
  atOnce?: true;
}

export function again(kind: Reason["kind"], info: string, code = 0): Again {
  return { name: "again", reason: { kind, info, code } };
}

/** Close codes of the service, beside those of RFC 6455. */
const draining = 1001;
const kicked = 4001;
const deleted = 4002;
const tooSlow = 4003;
const badFrame = 4004;
const tooMany = 4005;

/** Judges a connection that had been open. */
export function judgeClose({ code, reason }: Close): Verdict {
  switch (code) {
    case kicked:
      return { name: "refused", status: 0, code, info: reason || "an operator has ended the sessions of this account" };
    case deleted:
      return { name: "refused", status: 0, code, info: reason || "the account was deleted" };
    case tooMany:
      return { name: "refused", status: 0, code, info: reason || "the account has opened too many sessions since" };
    case draining:
      return again("draining", reason || "the service is draining", code);
    case tooSlow:
      return again("busy", reason || "too much waited for this client", code);
    case badFrame:
      return again("protocol", reason || "the service did not understand a frame", code);
    case broken:
      return again("network", reason || "the connection broke", code);
  }
  return again("network", reason || "the connection was closed", code);
}

/**
 * Finds out why a connection could not be opened: a WebSocket is not told, but the same URL answers an ordinary GET with
 * the refusal.
 */
export async function judgeRefusal(get: typeof fetch | undefined, url: string, signal: AbortSignal): Promise<Verdict> {
  const unknown = again("network", "the connection could not be made");
  if (get === undefined) return unknown;
  let status: number;
  let retryAfter: string | null;
  let answer: unknown;
  try {
    const response = await get(url.replace(/^ws/, "http"), {
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
      signal,
    });
    status = response.status;
    retryAfter = response.headers.get("Retry-After");
    answer = await response.json().catch(() => undefined);
  } catch {
    return unknown; // no network, or no service
  }
  const { ErrorCode: code, ErrorInfo: info } = read(answer);
  switch (status) {
    case 401:
    case 403:
      return { name: "refused", status, code, info: info || `HTTP ${status}` };
    case 429:
    case 503: {
      const seconds = Number(retryAfter);
      const verdict = again("busy", info || `HTTP ${status}`, code);
      return seconds > 0 ? { ...verdict, pauseMs: Math.min(seconds, maxRetryAfter) * 1000 } : verdict;
    }
  }
  return unknown; // 426: a login would be all right by now
}

/** A service that names a longer pause, in seconds, is not believed. */
const maxRetryAfter = 300;

/** The members of a refusal; what is no refusal of the service says only its status. */
function read(answer: unknown): { ErrorCode: number; ErrorInfo: string } {
  const { ErrorCode, ErrorInfo } = (answer ?? {}) as Record<string, unknown>;
  return {
    ErrorCode: typeof ErrorCode === "number" ? ErrorCode : 0,
    ErrorInfo: typeof ErrorInfo === "string" ? ErrorInfo : "",
  };
}
