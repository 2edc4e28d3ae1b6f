import type { Nanocredits } from './nanocredits.js'

/**
 * SHA-256 of an image's bytes: 64 lower-case hex digits. Public identity of an image
 * (`sha256:<digest>`).
 */
export type Digest = string

/**
 * Image formats that Segmind accepts, recognised by magic bytes, never by file name or declared
 * type.
 */
export type ImageType = 'jpeg' | 'png' | 'webp'

/** An image in memory: its bytes in the chunks in which they arrived, and their digest. */
export interface ImageBytes {
  type: ImageType
  digest: Digest
  chunks: readonly Buffer[]
  byteLength: number
  /**
   * Frees the memory of the bytes at once. Called when the request and the work it began have ended.
   * A part that reads them longer than that deletes this member.
   */
  release?(): void
}

/** Size in pixels. */
export interface Size {
  width: number
  height: number
}

/**
 * A view of an image: its size after `orientation`, the EXIF orientation that was applied; 1 for
 * none.
 */
export interface Frame extends Size {
  orientation: number
}

/** The size of an image's stored pixels, and its EXIF orientation, 1 to 8. */
export interface Photo extends Size {
  orientation: number
}

/** A checked image, and the frame in which its points and masks are expected. */
export interface CheckedImage {
  photo: Photo
  frame: Frame
}

/** The decoded pixels of an image, as stored: size in pixels and SHA-256 in lower-case hex. */
export interface PixelDigest extends Size {
  sha256: string
}

/** A point of the image: `[x, y]` in pixels from the upper left corner, finite and ≥ 0. */
export type Point = readonly [x: number, y: number]

/**
 * Canonical parameters of a selection: a prompt *or* at least one coordinate, either with
 * `removeCoordinates`. Points keep their order. Empty lists are absent.
 */
export interface Params {
  prompt?: string
  coordinates?: readonly Point[]
  removeCoordinates?: readonly Point[]
  overlayMask: boolean
}

/** Bounding box `[x, y, width, height]` and area of a selection, in pixels of the photo. */
export interface MaskFacts {
  bbox: readonly [x: number, y: number, width: number, height: number]
  area: number
}

/** Key of a cached result: 64 hex digits, see `segment/cache-key.ts`. */
export type CacheKey = string

/** A paid result: the picture, and facts about its purchase. */
export interface Result {
  body: Buffer
  /** `image/jpeg`, `image/png` or `image/webp` by the bytes; JSON for forms derived from a mask. */
  contentType: string
  /** Strong validator: the first 32 hex digits of the SHA-256 of the body, without quotes. */
  etag: string
  /** Bought at, milliseconds since 1970. */
  storedAt: number
  /** Cost of the purchase; an estimate where Segmind reported none. */
  cost: Nanocredits
  /** The team that paid, where known. Other teams may share the cost (`CHARGEBACK=split`). */
  boughtBy?: string
  /** Segmind's id of the call, where it sent one. */
  upstreamRequestId?: string
  /** Size of the picture; on forms derived from a mask, that of the mask. */
  size?: Size
  /** The segmented image, where known. */
  image?: Digest
  photo?: Photo
  /** False for a bare mask, from which other forms are derived; absent where unknown. */
  overlayMask?: boolean
  /** Facts about the selection, on forms derived from a mask. */
  mask?: MaskFacts
  /** The owning team under `CACHE_SCOPE=team`; absent when all teams share the result. */
  scope?: string
  /** Cache key of the question; present on a result kept under an `Idempotency-Key`. */
  answers?: CacheKey
}

/** `Cache-Control` of a request (RFC 9111 §5.2.1), as far as the gateway obeys it. */
export interface CacheDirectives {
  noCache: boolean
  noStore: boolean
  onlyIfCached: boolean
  maxAgeSeconds?: number
}

/** `Prefer` of a request (RFC 7240), as far as the gateway obeys it. */
export interface Preferences {
  respondAsync: boolean
  waitMs?: number
}

/** A team and its limits (docs/reference.md, Teams and keys). */
export interface Team {
  id: string
  name: string
  protected: boolean
  disabled: boolean
  limits: { requestsPerMinute: number; readsPerMinute: number; concurrent?: number; weight: number }
  budget?: { daily?: Nanocredits; monthly?: Nanocredits }
  /** Replaces the parts of the budget that it names until a time, milliseconds since 1970. */
  override?: { budget: NonNullable<Team['budget']>; until: number }
  /** Shares of the budget at which an alert is sent: 0.8 = 80 %. */
  alertAt?: readonly number[]
}

/** A team, authenticated by one of its keys. The key itself is never kept. */
export interface Caller {
  team: Team
  keyId: string
  /** True for a test key, whose requests the sandbox answers free of charge. */
  isTest?: true
}
