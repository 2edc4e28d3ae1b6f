import { defined } from './defined.js'

/** Billing of a failed request: `unknown` when the response never arrived (docs/segmind.md). */
export type Billed = 'no' | 'yes' | 'unknown'

interface ErrorKind {
  status: number
  title: string
  /** Sending the same request again may succeed. */
  retryable: boolean
}

const kind = (status: number, title: string, retryable = false): ErrorKind => ({ status, title, retryable })

/** Every error a caller can get (docs/reference.md, Errors). */
export const ERRORS = {
  invalid_request: kind(400, 'Malformed request'),
  missing_image: kind(400, 'Image missing'),
  missing_selection: kind(400, 'Prompt or coordinates missing'),
  invalid_parameter: kind(400, 'Invalid parameter'),
  unauthorized: kind(401, 'Missing or invalid API key'),
  forbidden: kind(403, 'Not permitted with this key'),
  not_found: kind(404, 'Not found'),
  unknown_image: kind(404, 'Unknown image'),
  unknown_result: kind(404, 'Unknown result'),
  method_not_allowed: kind(405, 'Method not allowed'),
  upload_timeout: kind(408, 'Upload timed out', true),
  image_too_large: kind(413, 'Image too large'),
  unsupported_content_type: kind(415, 'Unsupported content type'),
  unsupported_image: kind(415, 'Unsupported image format'),
  image_unreadable: kind(422, 'Image truncated or corrupt'),
  image_too_many_pixels: kind(422, 'Image has too many pixels'),
  image_url_refused: kind(422, 'Image URL refused'),
  image_url_failed: kind(422, 'Image URL could not be fetched', true),
  idempotency_key_reused: kind(422, 'Idempotency-Key already used for another request'),
  upstream_rejected: kind(422, 'Segmind rejected the input'),
  rate_limited: kind(429, 'Too many requests', true),
  budget_exhausted: kind(429, 'Credit budget of the team exhausted', true),
  internal_error: kind(500, 'Internal error'),
  upstream_failed: kind(502, 'Segmind failed', true),
  upstream_unauthorized: kind(502, 'Segmind refused the shared key'),
  credits_exhausted: kind(503, 'Shared credits insufficient', true),
  credits_reserved: kind(503, 'Remaining credits reserved for protected teams', true),
  overloaded: kind(503, 'Gateway overloaded', true),
  upstream_unavailable: kind(503, 'Segmind unavailable', true),
  upstream_busy: kind(503, 'Segmind rate limit reached', true),
  store_unavailable: kind(503, 'Store unavailable', true),
  shutting_down: kind(503, 'Gateway shutting down', true),
  upstream_slow: kind(504, 'Result not ready in time', true),
  upstream_timeout: kind(504, 'Segmind timed out', true),
  not_cached: kind(504, 'Result not cached'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorOptions {
  /** Default `no`. */
  billed?: Billed
  /** False where only a person should send the request again. Default: that of the code. */
  retryable?: boolean
  /** Seconds until a retry makes sense; sent as `Retry-After`. */
  retryAfterSeconds?: number
  /** Additional response headers, such as `Allow`. */
  headers?: Record<string, string>
  /** Underlying error: logged, never sent to the caller. */
  cause?: unknown
}

/**
 * An error that is reported to the caller. `detail` is a sentence for people, without keys or
 * upstream secrets.
 */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly billed: Billed
  readonly retryable: boolean
  readonly retryAfterSeconds: number | undefined
  readonly headers: Record<string, string>

  constructor(code: ErrorCode, detail: string, options: ErrorOptions = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'GatewayError'
    this.code = code
    this.billed = options.billed ?? 'no'
    this.retryable = options.retryable ?? ERRORS[code].retryable
    this.retryAfterSeconds = options.retryAfterSeconds
    this.headers = options.headers ?? {}
  }

  /** Returns a copy with another statement about its bill. */
  asBilled(billed: Billed): GatewayError {
    const { code, message, retryable, headers, cause } = this
    const retryAfterSeconds = defined({ retryAfterSeconds: this.retryAfterSeconds })
    return new GatewayError(code, message, { billed, retryable, headers, cause, ...retryAfterSeconds })
  }
}

/** Body of every error response: `application/problem+json` (RFC 9457 §3). */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  requestId: string
  retryable: boolean
  billed: Billed
  /** Equals `detail`. Segmind's clients read this member. */
  error: string
}

/** Builds the response body of an error. */
export function toProblem(error: GatewayError, requestId: string): Problem {
  const { status, title } = ERRORS[error.code]
  return {
    type: `/docs/errors#${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    requestId,
    retryable: error.retryable,
    billed: error.billed,
    error: error.message,
  }
}
