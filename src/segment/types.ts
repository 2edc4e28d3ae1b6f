import type { Nanocredits } from '../nanocredits.js'

/** SHA-256 of an image's bytes: 64 lower-case hex digits. Public identity of an image (`sha256:<digest>`). */
export type Digest = string

/** The forms Segmind takes, told by magic bytes, never by name or declared type. */
export type ImageType = 'jpeg' | 'png' | 'webp'

/** An image held in memory: the bytes as they came, in the pieces they came in, hashed on the way. */
export interface ImageBytes {
  type: ImageType
  digest: Digest
  chunks: readonly Buffer[]
  byteLength: number
}

/** A point of the image: `[x, y]` in pixels from the upper left corner, finite and ≥ 0. */
export type Point = readonly [x: number, y: number]

/**
 * What to select, in its one canonical form: a prompt *or* at least one coordinate; points keep their order.
 * `removeCoordinates` may accompany either. No empty lists: absent means none.
 */
export interface Params {
  prompt?: string
  coordinates?: readonly Point[]
  removeCoordinates?: readonly Point[]
  overlayMask: boolean
}

/** Where a selection is: its box `[x, y, width, height]` and its area, in pixels of the mask. */
export interface MaskFacts {
  bbox: readonly [x: number, y: number, width: number, height: number]
  area: number
}

/** Names the cached answer to one question: `v1` + model + image + canonical parameters (+ team under `CACHE_SCOPE=team`), hashed. 64 hex digits. */
export type CacheKey = string

/** An answer that was paid for: the picture and what is known about its purchase. */
export interface Result {
  body: Buffer
  /** `image/jpeg`, `image/png` or `image/webp`, told by the bytes; JSON of what was made of a mask. */
  contentType: string
  /** Strong validator: the first 32 hex digits of the SHA-256 of the body, without quotes. */
  etag: string
  /** When it was bought, milliseconds since 1970. */
  storedAt: number
  /** What it cost; an estimate where Segmind did not say. */
  cost: Nanocredits
  /** The team that paid for it, where it is known: others who use it may share its cost (`CHARGEBACK=split`). */
  boughtBy?: string
  /** Segmind's own id of the call, where it gave one. */
  upstreamRequestId?: string
  /** The image that was asked about, where it is known. */
  image?: Digest
  /** Whether the photo is in the picture; other forms are made only of a bare mask. Absent where that is not known. */
  overlayMask?: boolean
  /** Where the selection is, on what was made of a mask. */
  mask?: MaskFacts
  /** Whose it is under `CACHE_SCOPE=team`; absent means everybody's. */
  scope?: string
  /** The cache key of the question, on an answer that is kept under the name of an `Idempotency-Key`. */
  answers?: CacheKey
}

/** `Cache-Control` of a request (RFC 9111 §5.2.1), as far as the gateway obeys it. */
export interface CacheDirectives {
  noCache: boolean
  noStore: boolean
  onlyIfCached: boolean
  maxAgeSeconds?: number
}

/** Limits of one team (SPEC §7), as the pipeline needs them. */
export interface Team {
  id: string
  name: string
  protected: boolean
  disabled: boolean
  limits: { requestsPerMinute: number; concurrent?: number; weight: number }
  budget?: { daily?: Nanocredits; monthly?: Nanocredits }
  /** What holds instead of its parts until a moment, milliseconds since 1970. */
  override?: { budget: NonNullable<Team['budget']>; until: number }
  /** Shares of the budget that are worth an alert: 0.8 = 80 %. */
  alertAt?: readonly number[]
}

/** Who asks: a team by one of its keys. The key's text itself is never kept. */
export interface Caller {
  team: Team
  keyId: string
  /** A test key: answered by the sandbox, for nothing. */
  isTest?: true
}
