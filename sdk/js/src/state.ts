/** Why there is no session at the moment; another attempt follows. */
export interface Reason {
  kind: /** The connection could not be made, or broke. */
    | "network"
    /** The device says that it has no network. */
    | "offline"
    /** The service stops, or moves its clients elsewhere. */
    | "draining"
    /** The service refuses for now: HTTP 429 or 503, or too much waited for this client. */
    | "busy"
    /** The usersig function failed. */
    | "usersig"
    /** What came was not of the protocol, or what we sent was not. */
    | "protocol"
    /** Pushes came faster than the app's handler took them; the rest comes once it has caught up. */
    | "handler";
  /** A sentence about it; never a secret. */
  info: string;
  /** The service's ErrorCode, or the WebSocket's close code; 0 when there is none. */
  code: number;
}

/** Where a session is. It begins as closed. */
export type State =
  /** Attempt 0 is the first since start, or since a session that was open for a while. */
  | { name: "connecting"; attempt: number }
  /** The service has said hello. */
  | { name: "open" }
  /** The next attempt is made after delayMs, or as soon as the network is back; Infinity: when the handler is done. */
  | { name: "waiting"; attempt: number; delayMs: number; reason: Reason }
  /** The service will not have this session, and trying again is of no use; start tries once more. */
  | Refused
  /** stop or logout was called, or start not yet. */
  | { name: "closed" };

/** The service will not have this session. */
export interface Refused {
  name: "refused";
  /** The HTTP status of a refused login; 0 when the session was ended after it had begun. */
  status: number;
  /** The service's ErrorCode, or a close code: 4001 kicked, 4002 account deleted, 4005 too many sessions. */
  code: number;
  info: string;
}
