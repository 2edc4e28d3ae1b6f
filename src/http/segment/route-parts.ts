import type { FastifyRequest } from 'fastify'
import type { CreditStateName } from '../../contracts/account.js'
import type { MaybePromise } from '../../contracts/maybe-promise.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { Caller, ImageBytes, Team } from '../../contracts/types.js'
import type { SegmentRequest } from '../../segment/keyed-request.js'
import type { QuoteParts } from '../../segment/quote.js'
import type { ShapeParts } from '../../segment/shape.js'
import { Story } from '../../segment/story.js'
import type { KnownBodies } from '../receive/segment-request.js'
import type { UploadParts } from '../receive/upload.js'
import type { UploadRouteParts } from '../receive/upload-route.js'
import { callerOf } from '../server/request-facts.js'

/** Images that callers store and delete themselves. Rejects with `StoreError`. */
interface StoredImages {
  /**
   * Stores an image and resolves with its expiry, milliseconds since 1970; undefined where this
   * gateway keeps no images.
   */
  store(scope: string, image: ImageBytes, team: string): Promise<number | undefined>
  /** Checks for an image that this scope may use. Never rejects. */
  has(scope: string, digest: string): Promise<boolean>
  /** `foreign`: the image exists, but this team never sent it. */
  drop(scope: string, digest: string, team: string): Promise<'dropped' | 'unknown' | 'foreign'>
}

export interface TeamAllowance {
  /** Credits the team may still spend; undefined while unknown. */
  remaining(team: Team): MaybePromise<Nanocredits | undefined>
}

/**
 * The parts that answer a caller: live mode, or test mode for test keys, which never touches the
 * account, the ledger or the store.
 */
export interface Mode {
  isTest: boolean
  pipeline: QuoteParts & ShapeParts
  images: StoredImages
  bodies: KnownBodies
  /** Adapts a request to this mode. */
  prepare?(request: SegmentRequest): SegmentRequest
  allowance: TeamAllowance
  /** Like `allowance.remaining`, but requests the balance from Segmind when it is unknown. */
  refreshRemaining(team: Team): Promise<Nanocredits | undefined>
  /** Undefined while the account is unknown. */
  creditState(): CreditStateName | undefined
}

/** Parts that all team routes share. */
export interface TeamRouteParts extends UploadParts, UploadRouteParts {
  modes: { live: Mode; test: Mode }
}

/** Returns the mode of the caller's key. */
export function modeOf(request: FastifyRequest, { modes }: Pick<TeamRouteParts, 'modes'>): Mode {
  return callerOf(request).isTest ? modes.test : modes.live
}

/**
 * Returns the mode of the caller's key and records the request from now on. Simulated requests of
 * test keys are not recorded.
 */
export function beginSegmentation(request: FastifyRequest, parts: Pick<TeamRouteParts, 'modes'>): Mode {
  const mode = modeOf(request, parts)
  if (!mode.isTest) request.facts.story = new Story()
  return mode
}

/**
 * Returns the scope of the caller's images and results: the team under `CACHE_SCOPE=team`, else
 * empty.
 */
export function scopeOf({ team }: Caller, { pipeline }: Mode): string {
  return pipeline.cacheScope === 'team' ? team.id : ''
}
