// The elements of a push's body, as the REST contract has them. Recipients get them exactly as they were sent: no member
// is checked here, and the sender decides which optional ones are there.

/** A text to show. */
export interface TextElement {
  MsgType: "TIMTextElem";
  MsgContent: { Text: string };
}

/** A place on the earth, in degrees. */
export interface LocationElement {
  MsgType: "TIMLocationElem";
  MsgContent: { Desc: string; Latitude: number; Longitude: number };
}

/** An emoji of the app's own set. */
export interface FaceElement {
  MsgType: "TIMFaceElem";
  MsgContent: { Index: number; Data: string };
}

/** Whatever the app has agreed on with its operators; at most one in a body. */
export interface CustomElement {
  MsgType: "TIMCustomElem";
  MsgContent: { Data: string; Desc?: string; Ext?: string; Sound?: string };
}

/** A recording; `Size` in bytes, `Second` is its length. */
export interface SoundElement {
  MsgType: "TIMSoundElem";
  MsgContent: { Url: string; UUID: string; Size: number; Second: number; Download_Flag: 2 };
}

/** One rendering of an image: the original (1), large (2) or a thumbnail (3). `Size` in bytes, the rest in pixels. */
export interface ImageInfo {
  Type: 1 | 2 | 3;
  Size: number;
  Width: number;
  Height: number;
  URL: string;
}

/** An image in up to three sizes. */
export interface ImageElement {
  MsgType: "TIMImageElem";
  MsgContent: { UUID: string; ImageFormat: number; ImageInfoArray: ImageInfo[] };
}

/** A file; `FileSize` in bytes. */
export interface FileElement {
  MsgType: "TIMFileElem";
  MsgContent: { Url: string; UUID: string; FileSize: number; FileName: string; Download_Flag: 2 };
}

/** A video with its thumbnail; sizes in bytes, width and height in pixels. */
export interface VideoElement {
  MsgType: "TIMVideoFileElem";
  MsgContent: {
    VideoUrl: string;
    VideoUUID: string;
    VideoSize: number;
    VideoSecond: number;
    VideoFormat: string;
    VideoDownloadFlag: 2;
    ThumbUrl: string;
    ThumbUUID: string;
    ThumbSize: number;
    ThumbWidth: number;
    ThumbHeight: number;
    ThumbFormat: string;
    ThumbDownloadFlag: 2;
  };
}

/** The elements of today's contract. */
export type KnownElement =
  | TextElement
  | LocationElement
  | FaceElement
  | CustomElement
  | SoundElement
  | ImageElement
  | FileElement
  | VideoElement;

/** An element that a later contract may bring. Comparing `MsgType` cannot rule it out for the compiler; `isElement` does. */
export interface OtherElement {
  MsgType: string;
  MsgContent: Record<string, unknown>;
}

/** One element of a body. `isElement` tells which. */
export type MessageElement = KnownElement | OtherElement;

/** Whether an element is of the given type, for the compiler too. */
export function isElement<T extends KnownElement["MsgType"]>(
  element: MessageElement,
  type: T,
): element is Extract<KnownElement, { MsgType: T }> {
  return element.MsgType === type;
}
