import type { MessageElement } from "./element.js";

// What goes over the WebSocket: one JSON object a text frame, with its type in t.

/** At most so many sequences in one frame. */
export const maxSeqs = 1024;

/** Where vendor pushes to this device go. */
export interface Device {
  channel: "apns" | "fcm" | "webpush" | (string & Record<never, never>);
  token: string;
}

/** What a client sends. */
export type ClientFrame =
  | { t: "ack" | "opened"; seq: number[] }
  | ({ t: "device"; remove?: true } & Device)
  | { t: "logout" };

/** A session has begun. */
export interface Hello {
  /** The session's name in the service's logs. */
  session: string;
  /** The service pings so often, in seconds. */
  heartbeat: number;
  /** How many pushes were kept for this user and come now, oldest first. */
  pending: number;
}

/** One message for this user. */
export interface Push {
  /** The TaskId that the operator has. */
  id: string;
  /** It grows with every push of the app. */
  seq: number;
  /** The account that sent it. */
  from: string;
  /** When the service accepted it. */
  at: Date;
  /** Until when it is kept for who has not acknowledged it; null when it was for online users only. */
  expire: Date | null;
  /** The message, as the operator sent it. */
  body: MessageElement[];
}

/** An operator has cancelled a push: an app that shows it takes it away. */
export interface Revoke {
  /** The TaskId of the push that was cancelled. */
  id: string;
  /** Its seq. */
  seq: number;
}

/** A frame of the service. `ack` is what to acknowledge once a revocation was shown; without it, nothing. */
export type ServerFrame =
  | { t: "hello"; hello: Hello }
  | { t: "push"; push: Push }
  | { t: "revoke"; revoke: Revoke; ack?: number };

/**
 * Reads a frame; undefined for a type that a later service may send. It throws an Error for what is not of the
 * protocol.
 */
export function readFrame(data: unknown): ServerFrame | undefined {
  const f = parse(data);
  switch (f.t) {
    case "hello":
      return {
        t: "hello",
        hello: { session: text(f, "session"), heartbeat: natural(f, "heartbeat"), pending: natural(f, "pending") },
      };
    case "push": {
      const expire = natural(f, "expire");
      if (!Array.isArray(f.body)) throw new Error("a push has no list as its body");
      return {
        t: "push",
        push: {
          id: text(f, "id"),
          seq: natural(f, "seq"),
          from: text(f, "from"),
          at: new Date(natural(f, "at")),
          expire: expire === 0 ? null : new Date(expire * 1000),
          body: f.body as MessageElement[],
        },
      };
    }
    case "revoke": {
      const revoke = { id: text(f, "id"), seq: natural(f, "seq") };
      return f.ack === undefined ? { t: "revoke", revoke } : { t: "revoke", revoke, ack: natural(f, "ack") };
    }
  }
  return undefined;
}

function parse(data: unknown): Record<string, unknown> {
  if (typeof data !== "string") throw new Error("a frame is not text");
  let f: unknown;
  try {
    f = JSON.parse(data);
  } catch {
    throw new Error("a frame is not JSON");
  }
  if (typeof f !== "object" || f === null || Array.isArray(f)) throw new Error("a frame is not an object");
  return f as Record<string, unknown>;
}

function text(f: Record<string, unknown>, member: string): string {
  const v = f[member];
  if (typeof v !== "string") throw new Error(`a ${f.t} has no ${member}`);
  return v;
}

function natural(f: Record<string, unknown>, member: string): number {
  const v = f[member];
  if (!Number.isSafeInteger(v) || (v as number) < 0) throw new Error(`a ${f.t} has no ${member}`);
  return v as number;
}
