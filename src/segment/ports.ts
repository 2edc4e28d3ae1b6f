import type { Clock } from '../contracts/clock.js'
import type { GatewayError } from '../contracts/errors.js'
import type { MaybePromise } from '../contracts/maybe-promise.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type {
  CacheKey,
  CheckedImage,
  Digest,
  Frame,
  ImageBytes,
  MaskFacts,
  Params,
  PixelDigest,
  Result,
  Size,
  Team,
} from '../contracts/types.js'
import type { OrientationRule } from '../images/frame.js'
import type { OutlineForm } from '../images/outline-forms.js'
import type { Audience } from './audience.js'
import type { Ledger, SharedAccount } from './ledger-port.js'
import type { PaidFailures } from './paid-failures.js'
import type { Slots } from './slots-port.js'
import type { Upstream } from './upstream-port.js'

export type * from './ledger-port.js'
export type * from './slots-port.js'
export type * from './upstream-port.js'

// Interfaces through which the pipeline uses the parts. `app/build.ts` builds the parts; tests pass
// plain objects.

/** The result cache. Never throws: a failure is a miss, which the part counts and logs. */
export interface Results {
  /**
   * Returns an acceptable result, else a stale one, else none; a promise where it must be read.
   * `isStored`: false if the store is known to have none, so that only memory is searched.
   */
  find(key: CacheKey, isAcceptable: (result: Result) => boolean, isStored?: boolean): MaybePromise<Found>
  /** Keeps a paid result. What the store cannot take now is written when it is reachable again. */
  keep(key: CacheKey, result: Result, ttlSeconds?: number): Promise<WriteState>
}

export interface Found {
  result?: Result | undefined
  /** False when the store could not be read. */
  isSure: boolean
}

export interface WriteState {
  /** True when the store has it. */
  stored: boolean
  /**
   * Resolves to true once the store has it, or to false when the write was given up. Never rejects.
   */
  written: Promise<boolean>
}

/**
 * Images by id, for `IMAGE_TTL_SECONDS`. `scope` is the team under `CACHE_SCOPE=team`, else empty.
 * Never throws.
 */
export interface Images {
  find(scope: string, digest: Digest): Promise<ImageBytes | undefined>
  /** `team` uploaded the image and may delete it. */
  keep(scope: string, image: ImageBytes, team: string): Promise<void>
}

/** Cache status of an answer (`X-Cache`). */
export type How = 'hit' | 'miss' | 'coalesced' | 'stale' | 'bypass'

/**
 * Work in flight in this process, by name. Work that was started finishes even when no caller waits
 * for it.
 */
export interface Flights<T, L = FlightLeader> {
  /**
   * Follows the flight of that name, or leads a new one by calling `lead`.
   */
  join(name: string, leader: L, lead: () => Promise<T>): { role: 'leader' | 'follower'; leader: L; outcome: Promise<T> }
  /**
   * Starts a flight even if one is in flight; others can follow it when it is the only one of that
   * name.
   */
  lead(name: string, leader: L, lead: () => Promise<T>): Promise<T>
  /** Starts a flight that no other request can follow. */
  alone(lead: () => Promise<T>): Promise<T>
  /** The leader of the flight of that name, if there is one. */
  leaderOf(name: string): L | undefined
}

/** The team that leads a flight in this process, and the callers that wait for it. */
export interface FlightLeader {
  team: string
  audience: Audience
}

/** A purchase in flight as a successor needs to know it. */
export interface FlightNote {
  callId: string
  /** Planned at, milliseconds since 1970. */
  at: number
  /** The leader's team. */
  team: string
  /** The team under `CACHE_SCOPE=team`, else empty. */
  scope: string
  /**
   * A dead leader before this one. Its call is the one to end while this one has none in the
   * ledger.
   */
  earlier?: FlightNote | undefined
}

/** Elects one leader for each name across all processes and replicas. */
export interface Leases {
  /**
   * Waits until this process leads, or the current leader has ended. Throws `upstream_slow` when
   * neither happens within `waitMs`. `isFollowing`: another process has just led, so an unreachable
   * store is waited for.
   */
  take(name: string, note: FlightNote, options: { waitMs: number; isFollowing: boolean }): Promise<FlightRole>
  /**
   * Returns the flight of a name: in progress, recently ended, or `isDead`, when its leader died.
   * Never throws: an unknown state is undefined.
   */
  look(name: string): Promise<SeenFlight | undefined>
}

export interface SeenFlight {
  note: FlightNote
  outcome?: FlightOutcome
  isDead?: true
}

/** Role in a flight: a leader, which has to end it, or a follower whose leader has ended. */
export type FlightRole =
  | {
      role: 'leader'
      purchase: 'first' | 'takeover' | 'unguarded'
      /** The call of an earlier leader that died or left a job open. */
      earlier?: FlightNote
      /** False if the store had no result when it granted the lease. */
      isStored?: boolean
      /** Ends the flight for its followers. Call it once the store has the result. Never throws. */
      end(outcome: FlightOutcome): void
    }
  | { role: 'follower'; leader: FlightNote; outcome: FlightOutcome }

/** The end of a flight, for its followers. */
export interface FlightOutcome {
  /** Absent when there is a result. */
  error?: GatewayError
  /**
   * The call whose job is open at Segmind, for the next leader to poll. It may be an earlier
   * leader's.
   */
  openJob?: FlightNote
}

/** Counts each team's answers for its statement and the metrics. Never throws. */
interface Journal {
  answered(answer: JournalEntry): void
}

/** One answer to one team. The result says what it cost when it was bought, and which team paid. */
export interface JournalEntry {
  team: Team
  how: How
  resultId: CacheKey
  result: Pick<Result, 'cost' | 'storedAt' | 'boughtBy'>
}

/**
 * Checks an image's structure and that all points are inside it.
 * Throws `unsupported_image`, `image_*`, `invalid_parameter`.
 */
type CheckImage = (image: ImageBytes, params: Params) => Promise<CheckedImage>

/** Returns an image without the metadata that may not leave; itself if it has none. */
type StripMetadata = (image: ImageBytes) => ImageBytes

/** Digests the decoded pixels of an image; undefined where it cannot be decoded. Never rejects. */
type DigestPixels = (image: ImageBytes) => Promise<PixelDigest | undefined>

/**
 * Derives output forms from a paid mask, at no cost. Throws `upstream_failed` when it is no mask,
 * `overloaded`.
 */
export interface MaskForms {
  /**
   * Encodes the mask, scaled to `size`, as COCO run-length encoding: JSON with bounding box and
   * area.
   */
  rle(mask: Buffer, size?: Size): Promise<{ body: Buffer; contentType: string; mask: MaskFacts }>
  /** Writes the outline of the mask, scaled to `size`, with a tolerance of `simplify` pixels. */
  outline(
    mask: Buffer,
    options: { form: OutlineForm; simplify: number; size?: Size | undefined },
  ): Promise<{ body: Buffer; contentType: string; mask: MaskFacts }>
  /** Cuts the selection out of the photo: a PNG, transparent outside of it. */
  cutout(mask: Buffer, readImage: () => Promise<Buffer>): Promise<Buffer>
}

/** Outcome of a flight: bought just now, or found in the cache by the second lookup. */
export interface Purchase {
  result: Result
  bought: boolean
  /** The call, when this process has just made it. */
  by?: { team: string; callId: string; at: number; requestId: string }
  /** True when another process bought it while this one waited. */
  followed?: boolean
  charged: Nanocredits
  /** True when the cache has it, so that the next identical request is a hit. */
  stored: boolean
  /** Resolves to true once the store has it, else to false. */
  written: Promise<boolean>
  queueMs: number
  upstreamMs: number
}

/**
 * A purchase that continues for callers who were answered 202. `deadline` by `performance.now()`.
 */
interface BackgroundPurchase {
  hasBytes: boolean
  deadline: number
}

/** Receives what the pipeline finds out. Never throws. */
interface PipelineObserver {
  resultAnswered(team: string, how: How, cost: Nanocredits): void
  /** A picture shows that `IMAGE_ORIENTATION` is wrong for its photo. */
  orientationContradicted(picture: Size, photo: Frame): void
  /**
   * A paid picture is not what was bought. An overlay is returned all the same, a mask is refused.
   */
  pictureUnfit(kind: 'overlay' | 'mask', facts: { picture?: Size | undefined; photo?: Frame | undefined }): void
}

/** The parts that a request passes through, and the settings that decide its way. */
export interface PipelineParts {
  results: Results
  images: Images
  flights: Flights<Purchase>
  /** By team and flight name; empty at start. */
  backgroundPurchases: Map<string, BackgroundPurchase>
  leases: Leases
  checkImage: CheckImage
  /** With `STRIP_METADATA`. */
  stripMetadata?: StripMetadata | undefined
  /** With `PIXEL_DIGEST`. */
  digestPixels?: DigestPixels | undefined
  account: SharedAccount
  ledger: Ledger
  slots: Slots
  upstream: Upstream
  paidFailures: PaidFailures
  journal: Journal
  observer: PipelineObserver
  now: Clock
  /** `CACHE_TTL_SECONDS` and `STALE_SECONDS`. */
  freshSeconds: number
  staleSeconds: number
  /** `CLIENT_TIMEOUT_MS`: longest wait of a caller for a purchase. */
  clientTimeoutMs: number
  /** `IMAGE_ORIENTATION`. */
  orientation: OrientationRule
  /** `CACHE_SCOPE`: `team` separates the results and images of each team. */
  cacheScope: 'shared' | 'team'
  /** `COALESCE`: identical requests share one purchase. */
  coalesce: boolean
}
