import type { Nanocredits } from '../nanocredits.js'
import type { SegmentRequest } from '../segment/question.js'
import type { QuoteParts } from '../segment/quote.js'
import type { ShapeParts } from '../segment/shape.js'
import type { Caller, ImageBytes, Team } from '../segment/types.js'
import type { ReceivingParts } from './receive-form.js'
import type { UploadRouteParts } from './upload-route.js'

/** Images that callers store and take out themselves. Rejects with `StoreError`. */
export interface StoredImages {
  /** Keeps it and answers until when, milliseconds since 1970; undefined where this gateway keeps no images. */
  store(scope: string, image: ImageBytes, team: string): Promise<number | undefined>
  /** Whether there is one that this scope may name. Never rejects. */
  has(scope: string, digest: string): Promise<boolean>
  /** `foreign`: it is there, and this team has not sent it. */
  drop(scope: string, digest: string, team: string): Promise<'dropped' | 'unknown' | 'foreign'>
}

/** Bodies by what was announced of them: the question that one held, as text. Never throws. */
export interface KnownBodies {
  recall(name: string): Promise<string | undefined>
  remember(name: string, question: string): void
}

/** Everything that a caller's questions meet: the real account's, or that of test keys, which touches nothing of it. */
export interface Lane {
  isTest: boolean
  pipeline: QuoteParts & ShapeParts
  images: StoredImages
  bodies: KnownBodies
  /** The question as it is to be asked here. */
  prepare(question: SegmentRequest): SegmentRequest
  /** What the caller may still spend; undefined when that is not known. */
  remaining(team: Team): Promise<Nanocredits | undefined>
  /** The same, after Segmind was asked for the balance where that is what is missing. */
  askRemaining(team: Team): Promise<Nanocredits | undefined>
  /** Undefined while nothing is known of the account. */
  creditState(): 'normal' | 'reserve' | 'empty' | undefined
}

/** What the routes of the team door share. */
export interface LaneParts extends ReceivingParts, UploadRouteParts {
  laneOf(caller: Caller): Lane
}
