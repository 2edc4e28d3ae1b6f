import type { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { PurchaseKind } from '../storage.js'
import type { CacheKey, Caller, Digest, ImageBytes, MaskFacts, Params, Result, Team } from './types.js'
import type { Bill, Upstream } from './upstream-port.js'

export type * from './upstream-port.js'

/** What the pipeline asks of the parts around it. Each is built in `gateway.ts`; tests pass plain objects. */

/** Answers we have. Never throws: a failure is a miss, counted and logged by the part. */
export interface Results {
  /** The result that `isWanted`, else one past its time, else nothing; `isSure` is false when the store could not be asked. */
  find(key: CacheKey, isWanted: (result: Result) => boolean): Promise<Found>
  /** Keeps a paid answer, for its usual time unless told another; what the store cannot take now is written when it is back. */
  keep(key: CacheKey, result: Result, ttlSeconds?: number): Promise<Kept>
}

export interface Found {
  result?: Result
  isSure: boolean
}

export interface Kept {
  /** Whether the store has it already. */
  stored: boolean
  /** Resolves once it is known whether the store has it: false when it was given up. Never rejects. */
  written: Promise<boolean>
}

/** Images by id, for `IMAGE_TTL_SECONDS`. `scope` is the team under `CACHE_SCOPE=team`, else empty. Never throws. */
export interface Images {
  find(scope: string, digest: Digest): Promise<ImageBytes | undefined>
  /** `team` has sent it, and may take it out. */
  keep(scope: string, image: ImageBytes, team: string): Promise<void>
}

/** One paid call, before it happens. */
export interface PlannedCall {
  callId: string
  /** When it was planned, milliseconds since 1970: it is booked in the windows of that time. */
  at: number
  caller: Caller
  requestId: string
  cacheKey: CacheKey
  purchase: PurchaseKind
  /** What is sent: its size in pixels, and its bytes. */
  image?: { width: number; height: number; bytes: number }
}

/** Money held for a call until it is known what it cost. Exactly one of the three ends it; a second one changes nothing. */
export interface Reservation {
  /** What `settle` books for this bill: Segmind's own figure, else what the balance shows, else the estimate. */
  costOf(bill: Bill): Promise<Nanocredits>
  /** Adds what has become known about the call since, before it ends. */
  describe(known: { pixelKey: string }): void
  /** Segmind has taken the call as a job: whoever comes after a crash polls that job, and submits no other. */
  submitted(jobId: string): Promise<void>
  /** The call was answered and billed. Answers what was booked: Segmind's own figure, else the estimate. */
  settle(bill: Bill): Promise<Nanocredits>
  /** Segmind surely did not bill. */
  release(bill?: Bill): Promise<void>
  /** The body went out and no answer came: stays booked with the estimate. */
  unknown(bill?: Bill): Promise<void>
}

export interface Ledger {
  /** Throws `credits_exhausted`, or `credits_reserved` for a team that is not protected: nothing need be reserved for a call that cannot be paid. */
  admit(team: Team): void
  /** Throws `budget_exhausted`, `credits_reserved`, or `store_unavailable` (only for a team with a budget). */
  reserve(call: PlannedCall): Promise<Reservation>
  /** What the account held when it was last heard; undefined while that is not known. */
  balance(): Nanocredits | undefined
  /** The call that an earlier holder of a flight had planned; nothing when it never reserved, or gave back what it reserved. Rejects with `StoreError`. */
  find(callId: string, at: number): Promise<EarlierCall | undefined>
}

/** A call as a process that has died, or has given up waiting for its job, left it. */
export interface EarlierCall {
  state: 'reserved' | 'charged' | 'unknown'
  /** Milliseconds since 1970. */
  at: number
  team: string
  /** The question it was made for. */
  cacheKey: CacheKey
  jobId?: string
  /** Ends it in place of the one who reserved it. */
  reservation: Reservation
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
  /** Who leads the flight of that name; nobody when there is none. */
  leaderOf(name: string): string | undefined
}

/** What a successor has to know of a purchase under way: its call, and who leads it. */
export interface FlightNote {
  callId: string
  /** When the call was planned, milliseconds since 1970. */
  at: number
  /** The team that leads. */
  team: string
  /** Whose results it belongs to under `CACHE_SCOPE=team`, else empty. */
  scope: string
  /** The leader before, who died: its call is the one to be ended, as long as this one has planned none in the ledger. */
  earlier?: FlightNote | undefined
}

/** Who buys the answer of one name, across processes and replicas. */
export interface Leases {
  /**
   * Waits until this process leads, or the one that does has landed. Throws `upstream_slow` when neither happens in `waitMs`.
   * `isFollowing`: somebody else is known to have led just now, so a store that does not answer is waited for.
   */
  take(name: string, note: FlightNote, options: { waitMs: number; isFollowing: boolean }): Promise<Seat>
  /** How a name stands: under way, or landed lately with what its leader had to say. Never throws: not known is nothing. */
  look(name: string): Promise<{ note: FlightNote; landing?: Landing } | undefined>
}

/** A place in a flight: the leader's, who has to land it, or a follower's, whose leader has landed. */
export type Seat =
  | {
      role: 'leader'
      purchase: 'first' | 'takeover' | 'unguarded'
      /** Of the leader before, who died, or left a job open. */
      earlier?: FlightNote
      /** Ends the flight for those who follow. Call it when the result is in the store. Never throws. */
      land(landing: Landing): void
    }
  | { role: 'follower'; leader: FlightNote; landing: Landing }

/** How a purchase ended, for those who followed. */
export interface Landing {
  /** Absent when there is a result, or nothing to say. */
  error?: GatewayError
  /** The call whose job is still open at Segmind: who comes next polls it. It may be an earlier leader's. */
  openJob?: FlightNote
}

/** Takes down what each team was answered, for its statement and the metrics. Never throws. */
export interface Journal {
  answered(answer: JournalEntry): void
}

/** One answer to one team: what it cost when it was bought, and who bought it, come with the result. */
export interface JournalEntry {
  team: Team
  how: How
  resultId: CacheKey
  result: Pick<Result, 'cost' | 'storedAt' | 'boughtBy'>
}

/** A turn at the upstream; `done` gives it back, once. Throws `overloaded`. */
export interface Turns {
  take(caller: Caller): Promise<{ waitedMs: number; done(): void }>
}

/** Checks an image's structure and that the points lie inside it, and answers its size in pixels as stored. Throws `unsupported_image`, `image_*`, `invalid_parameter`. */
export type CheckImage = (image: ImageBytes, params: Params) => Promise<{ width: number; height: number }>

/** Names a question by the picture that is seen, whatever its bytes; undefined where the picture cannot be decoded. Never rejects. */
export type PixelKeyOf = (image: ImageBytes, params: Params, scope: string) => Promise<string | undefined>

/** What is made of a paid mask, here and for nothing. Throws `upstream_failed` where the mask is none, `overloaded`. */
export interface MaskForms {
  /** COCO run-length encoding as JSON, with box and area. */
  rle(mask: Buffer): Promise<{ body: Buffer; contentType: string; mask: MaskFacts }>
  /** The photo as a PNG that is transparent outside of the selection. */
  cutout(mask: Buffer, image: Buffer): Promise<Buffer>
}

/** What a flight brings home: bought just now, or found by the second look. */
export interface Purchase {
  result: Result
  bought: boolean
  /** Whose call it was, where it was made in this process just now. */
  by?: { team: string; callId: string; at: number; requestId: string }
  /** Bought by another process meanwhile, which this one waited for. */
  followed?: boolean
  charged: Nanocredits
  /** Whether the cache has it, so that the next identical request finds it. */
  stored: boolean
  /** Resolves once it is known whether the store has it. */
  written: Promise<boolean>
  queueMs: number
  upstreamMs: number
}

/** What is pursued to its end for a team whose callers have been told to come back; times by `performance.now()`. */
export interface Pursuit {
  hasBytes: boolean
  endsAt: number
}

/** The parts a request meets on its way, and the few settings that decide it. */
export interface PipelineParts {
  results: Results
  images: Images
  flights: Flights<Purchase>
  /** By team and question; whoever builds the pipeline begins with none. */
  pursuits: Map<string, Pursuit>
  leases: Leases
  checkImage: CheckImage
  /** With `PIXEL_DIGEST`. */
  pixelKeyOf?: PixelKeyOf | undefined
  ledger: Ledger
  turns: Turns
  upstream: Upstream
  journal: Journal
  /** Milliseconds since 1970. */
  now(): number
  /** `CACHE_TTL_SECONDS` and `STALE_SECONDS`. */
  freshSeconds: number
  staleSeconds: number
  /** `CLIENT_TIMEOUT_MS`: how long a caller waits for a purchase. */
  patienceMs: number
  /** `CACHE_SCOPE`: `team` keeps the results and images of each team apart. */
  cacheScope: 'shared' | 'team'
  /** `COALESCE`: whether identical questions share one purchase. */
  coalesce: boolean
}
