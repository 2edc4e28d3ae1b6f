import type { ErrorCode, GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { ImageBytes, Params, Size } from '../contracts/types.js'

/** Segmind's billing facts on one response; each absent where the response has none. */
export interface Bill {
  cost?: Nanocredits
  remaining?: Nanocredits
  upstreamRequestId?: string
}

/** Outcome of a call: a picture as bytes, or a failure. Either may carry a bill. */
export type UpstreamOutcome = UpstreamPicture | UpstreamFailure

export interface UpstreamPicture {
  kind: 'answered'
  body: Buffer
  contentType: string
  /** Absent where the picture was not measured. */
  size?: Size
  bill: Bill
}

export interface UpstreamFailure {
  kind: 'failed'
  error: GatewayError
  bill: Bill
  /**
   * Present when Segmind refused the call for its rate (429, 503): it was not billed, and may be
   * sent again. `waitMs`: the wait that Segmind asked for.
   */
  busy?: { waitMs?: number }
}

/**
 * One attempt of a call: `ok` or its error code, the HTTP status if one arrived, and the duration.
 */
export interface UpstreamAttempt {
  code: 'ok' | ErrorCode
  status?: number
  durationMs: number
}

/** Terms of one call. */
export interface CallTerms {
  /** Names the image and its parameters. Failures of one question alone are no outage. */
  question: string
  onAttempt?(attempt: UpstreamAttempt): void
  /** Called, and awaited, when Segmind has accepted the call as a job, before the first poll. */
  onSubmitted(jobId: string): Promise<void>
}

export interface Upstream {
  /**
   * Throws `upstream_unavailable` while the circuit breaker is open, so that nothing is reserved in
   * vain.
   */
  admit(): void
  /**
   * Calls Segmind, and retries only where that cannot be billed twice. Never throws. A failure has
   * a code of `upstream_*` or `credits_exhausted`, and `error.billed` says what is known of its
   * bill.
   */
  segment(image: ImageBytes, params: Params, terms: CallTerms): Promise<UpstreamOutcome>
  /** Polls a job submitted earlier (`SEGMIND_API=v2`) at no further cost. Never throws. */
  resume(jobId: string): Promise<UpstreamOutcome>
}
