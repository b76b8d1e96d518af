/** What is needed of a WebSocket: browsers' and Node's own, or the one of the package ws. */
export interface WebSocketLike {
  readonly readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  // biome-ignore lint/suspicious/noExplicitAny: the event classes of the implementations have nothing else in common
  onopen: ((event: any) => void) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onmessage: ((event: any) => void) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onerror: ((event: any) => void) | null;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onclose: ((event: any) => void) | null;
}

/** The class of such WebSockets. */
export type WebSocketClass = new (url: string) => WebSocketLike;

/** How a connection ended: the close code and its text, 1006 when it broke or could not be made. */
export interface Close {
  code: number;
  reason: string;
}

/** No close frame came. */
export const broken = 1006;
const open = 1;

/** One WebSocket from its opening to its end, which comes once. */
export class Link {
  readonly #socket: WebSocketLike;
  #end!: (c: Close) => void;
  /** Resolves when it has ended; never for one that was abandoned. */
  readonly ended = new Promise<Close>((resolve) => {
    this.#end = resolve;
  });

  /** Calls onOpen, then onText for each frame. It throws what the WebSocket class throws for a URL that it does not like. */
  constructor(socket: WebSocketClass, url: string, onOpen: () => void, onText: (data: unknown) => void) {
    const s = new socket(url);
    this.#socket = s;
    s.onopen = onOpen;
    s.onmessage = (e: { data: unknown }) => onText(e.data);
    s.onerror = () => {}; // a close follows, and says as little as the error; ws throws errors that nobody takes
    s.onclose = (e: Close) => this.#end({ code: e.code, reason: e.reason });
  }

  /** Hands a frame to the socket; false when that is not open. */
  send(frame: object): boolean {
    if (this.#socket.readyState !== open) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** Begins the closing handshake; what was sent before arrives before. */
  close(): void {
    this.#socket.close(1000);
  }

  /** Tells nothing of it any more, and lets the socket end when it likes: without a network that takes long. */
  abandon(): void {
    this.#socket.onopen = null;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close();
  }
}
