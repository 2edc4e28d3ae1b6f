import type { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { CacheKey, Caller, Digest, ImageBytes, Params, Result, Team } from './types.js'

/** What the pipeline asks of the parts around it. Each is built in `gateway.ts`; tests pass plain objects. */

/** Answers we have. Never throws: a failure is a miss, counted and logged by the part. */
export interface Results {
  /** The result that `isWanted`, else one past its time, else nothing. */
  find(key: CacheKey, isWanted: (result: Result) => boolean): Promise<Result | undefined>
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
  release(bill?: Bill): Promise<void>
  /** The body went out and no answer came: stays booked with the estimate. */
  unknown(bill?: Bill): Promise<void>
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

/** How an answer came about (SPEC §3, `X-Cache`). */
export type How = 'hit' | 'miss' | 'coalesced' | 'stale' | 'bypass'

/** Answers on their way. Work that was begun is finished whether or not anybody still waits for it. */
export interface Flights<T> {
  /** Joins the flight of that name, or leads a new one by calling `lead`. `leader` is whoever began it. */
  join(
    name: string,
    leader: string,
    lead: () => Promise<T>,
  ): { role: 'leader' | 'follower'; leader: string; landed: Promise<T> }
  /** Begins a flight even where one is under way; others may join it where it is the only one of that name. */
  lead(name: string, leader: string, lead: () => Promise<T>): Promise<T>
  /** A flight nobody can join. */
  alone(lead: () => Promise<T>): Promise<T>
}

/** Takes down what each team was answered, for its statement and the metrics. Never throws. */
export interface Journal {
  /** `cost`: what the answer cost when it was bought: what a hit saves. */
  answered(team: Team, how: How, cost: Nanocredits): void
}

/** A turn at the upstream; `done` gives it back, once. Throws `overloaded`. */
export interface Turns {
  take(caller: Caller): Promise<{ waitedMs: number; done(): void }>
}

/** What came of asking Segmind: the picture as bytes whatever form it came in, or a failure; either may carry a bill. */
export type UpstreamOutcome = { kind: 'answered'; body: Buffer; contentType: string; bill: Bill } | UpstreamFailure

export interface UpstreamFailure {
  kind: 'failed'
  error: GatewayError
  bill: Bill
}

export interface Upstream {
  /**
   * Asks Segmind once (and again only where that cannot be billed twice). Never throws.
   * `error.billed` of a failure says what is known about money; its code is one of `upstream_*`, `credits_exhausted`.
   */
  segment(image: ImageBytes, params: Params): Promise<UpstreamOutcome>
}

/** Checks an image's structure and that the points lie inside it. Throws `unsupported_image`, `image_*`, `invalid_parameter`. */
export type CheckImage = (image: ImageBytes, params: Params) => Promise<void>
