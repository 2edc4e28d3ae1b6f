import type { Nanocredits } from '../nanocredits.js'
import type { CacheKey, Caller, Digest, ImageBytes, Params, Result } from './types.js'

/** What the pipeline asks of the parts around it. Each is built in `gateway.ts`; tests pass plain objects. */

/** Answers we have. Never throws: a failure is a miss, counted and logged by the part. */
export interface Results {
  find(key: CacheKey): Promise<Result | undefined>
  keep(key: CacheKey, result: Result): Promise<boolean>
}

/** Images by id, for `IMAGE_TTL_SECONDS`. `scope` is the team under `CACHE_SCOPE=team`, else empty. Never throws. */
export interface Images {
  find(scope: string, digest: Digest): Promise<ImageBytes | undefined>
  keep(scope: string, image: ImageBytes): Promise<void>
}

/** One paid call, before it happens. */
export interface PlannedCall {
  callId: string
  caller: Caller
  requestId: string
  cacheKey: CacheKey
}

/** Money held for a call until it is known what it cost. Exactly one of the three ends it; a second one changes nothing. */
export interface Reservation {
  /** The call was answered and billed. Answers what was booked: Segmind's own figure, else the estimate. */
  settle(bill: Bill): Promise<Nanocredits>
  /** Segmind surely did not bill. */
  release(): Promise<void>
  /** The body went out and no answer came: stays booked with the estimate. */
  unknown(): Promise<void>
}

/** What Segmind said about money on an answer; each absent where it said nothing. */
export interface Bill {
  cost?: Nanocredits
  remaining?: Nanocredits
  upstreamRequestId?: string
}

export interface Ledger {
  /** Throws `budget_exhausted` or `store_unavailable` (only for a team with a budget). */
  reserve(call: PlannedCall): Promise<Reservation>
}

/** A turn at the upstream; `done` gives it back, once. Throws `overloaded`. */
export interface Turns {
  take(caller: Caller): Promise<{ waitedMs: number; done(): void }>
}

/** An answer of Segmind: the picture as bytes whatever form it came in. */
export interface UpstreamAnswer {
  body: Buffer
  contentType: string
  bill: Bill
}

export interface Upstream {
  /**
   * Asks Segmind once (and again only where that cannot be billed twice).
   * Throws `GatewayError` with `billed` telling what is known: `upstream_*`, `credits_exhausted`.
   */
  segment(image: ImageBytes, params: Params): Promise<UpstreamAnswer>
}

/** Checks an image's structure and that the points lie inside it. Throws `unsupported_image`, `image_*`, `invalid_parameter`. */
export type CheckImage = (image: ImageBytes, params: Params) => Promise<void>
