export type {
  CustomElement,
  FaceElement,
  FileElement,
  ImageElement,
  ImageInfo,
  KnownElement,
  LocationElement,
  MessageElement,
  OtherElement,
  SoundElement,
  TextElement,
  VideoElement,
} from "./element.js";
export { isElement } from "./element.js";
export type { Events, Failure, Handler } from "./event.js";
export type { Device, Hello, Push, Revoke } from "./frame.js";
export type { WebSocketClass, WebSocketLike } from "./link.js";
export type { StorageLike } from "./memory.js";
export type { Options, Platform } from "./options.js";
export { Session } from "./session.js";
export type { Reason, Refused, State } from "./state.js";
