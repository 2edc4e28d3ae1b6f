/** Whether the credits of the failed request were spent: `unknown` when an answer never arrived (SEGMIND.md, Errors). */
export type Billed = 'no' | 'yes' | 'unknown'

interface ErrorKind {
  status: number
  title: string
  /** Sending the same request again may succeed. */
  retryable: boolean
}

const kind = (status: number, title: string, retryable = false): ErrorKind => ({ status, title, retryable })

/** Every error a caller can meet: code → status, title, whether trying again makes sense (SPEC §6). */
export const ERRORS = {
  invalid_request: kind(400, 'The request could not be read'),
  missing_image: kind(400, 'No image was sent'),
  missing_selection: kind(400, 'Neither a prompt nor coordinates were sent'),
  invalid_parameter: kind(400, 'A parameter has a value that is not accepted'),
  unauthorized: kind(401, 'The key is missing or not valid'),
  forbidden: kind(403, 'This key may not do that'),
  not_found: kind(404, 'There is nothing at this address'),
  unknown_image: kind(404, 'The gateway does not hold this image'),
  unknown_result: kind(404, 'There is no result with this id'),
  method_not_allowed: kind(405, 'This address does not take that method'),
  upload_timeout: kind(408, 'The request body did not arrive in time', true),
  image_too_large: kind(413, 'The image has too many bytes'),
  unsupported_content_type: kind(415, 'The request has a content type that is not accepted'),
  unsupported_image: kind(415, 'The image is not a JPEG, PNG or WebP'),
  image_unreadable: kind(422, 'The image is truncated or corrupt'),
  image_too_many_pixels: kind(422, 'The image has too many pixels'),
  image_url_refused: kind(422, 'The image URL may not be fetched'),
  image_url_failed: kind(422, 'The image URL could not be fetched', true),
  idempotency_key_reused: kind(422, 'This Idempotency-Key belongs to another question'),
  upstream_rejected: kind(422, 'Segmind refused this input'),
  rate_limited: kind(429, 'Too many requests', true),
  budget_exhausted: kind(429, 'The credit budget of this team is spent', true),
  internal_error: kind(500, 'Something went wrong inside the gateway'),
  upstream_failed: kind(502, 'Segmind failed', true),
  upstream_unauthorized: kind(502, 'Segmind refused the shared key'),
  credits_exhausted: kind(503, 'The shared Segmind account is out of credits', true),
  credits_reserved: kind(503, 'The remaining credits are reserved for protected teams', true),
  overloaded: kind(503, 'The gateway has too much to do', true),
  upstream_unavailable: kind(503, 'Segmind is not available', true),
  upstream_busy: kind(503, 'Segmind is limiting the rate of requests', true),
  store_unavailable: kind(503, 'The store, without which this cannot be decided, does not answer', true),
  shutting_down: kind(503, 'The gateway is shutting down', true),
  upstream_slow: kind(504, 'The answer takes longer than the gateway lets callers wait', true),
  upstream_timeout: kind(504, 'Segmind did not answer in time', true),
  not_cached: kind(504, 'There is no cached answer, and only a cached one was wanted'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

export interface ErrorOptions {
  /** Default `no`: nothing was spent. */
  billed?: Billed
  /** Seconds until trying again makes sense; becomes `Retry-After`. */
  retryAfterSeconds?: number
  /** Headers of the answer beside the usual ones, such as `Allow`. */
  headers?: Record<string, string>
  /** What lies behind it: for the log, never for the caller. */
  cause?: unknown
}

/** A failure that the caller is told: `detail` is a sentence for people and never holds a key or an upstream secret. */
export class GatewayError extends Error {
  readonly code: ErrorCode
  readonly billed: Billed
  readonly retryAfterSeconds: number | undefined
  readonly headers: Record<string, string>

  constructor(code: ErrorCode, detail: string, options: ErrorOptions = {}) {
    super(detail, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'GatewayError'
    this.code = code
    this.billed = options.billed ?? 'no'
    this.retryAfterSeconds = options.retryAfterSeconds
    this.headers = options.headers ?? {}
  }
}

/** The body of every error answer: `application/problem+json` (RFC 9457 §3) with the members of SPEC §6. */
export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  requestId: string
  retryable: boolean
  billed: Billed
  /** The same sentence as `detail`: the member Segmind's clients read. */
  error: string
}

/** Says an error the way the caller reads it. */
export function toProblem(error: GatewayError, requestId: string): Problem {
  const { status, title, retryable } = ERRORS[error.code]
  return {
    type: `/docs/errors#${error.code}`,
    title,
    status,
    detail: error.message,
    code: error.code,
    requestId,
    retryable,
    billed: error.billed,
    error: error.message,
  }
}
