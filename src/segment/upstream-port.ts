import type { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { ImageBytes, Params } from './types.js'

/** What Segmind said about money on an answer; each absent where it said nothing. */
export interface Bill {
  cost?: Nanocredits
  remaining?: Nanocredits
  upstreamRequestId?: string
}

/** What came of asking Segmind: the picture as bytes whatever form it came in, or a failure; either may carry a bill. */
export type UpstreamOutcome = { kind: 'answered'; body: Buffer; contentType: string; bill: Bill } | UpstreamFailure

export interface UpstreamFailure {
  kind: 'failed'
  error: GatewayError
  bill: Bill
}

/** What the client needs to know of the call around it. */
export interface CallTerms {
  /** Until when it may wait before it tries again, milliseconds since 1970: the caller's patience. */
  retryUntil: number
  /** Told of each attempt: `ok` or an error code, the HTTP status where there was one, and how long it took. */
  onAttempt?(attempt: { code: string; status?: number; durationMs: number }): void
  /** Told, and waited for, when Segmind has taken the call as a job, before it is polled. */
  onSubmitted(jobId: string): Promise<void>
}

export interface Upstream {
  /** Throws `upstream_unavailable` while the breaker is open: nothing need be reserved for a call that would not be made. */
  admit(): void
  /**
   * Asks Segmind once (and again only where that cannot be billed twice). Never throws.
   * `error.billed` of a failure says what is known about money; its code is one of `upstream_*`, `credits_exhausted`.
   */
  segment(image: ImageBytes, params: Params, terms: CallTerms): Promise<UpstreamOutcome>
  /** Waits for a job that was submitted before (`SEGMIND_API=v2`), which costs nothing more. Never throws. */
  resume(jobId: string): Promise<UpstreamOutcome>
}
