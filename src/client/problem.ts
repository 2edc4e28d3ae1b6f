import type { Problem } from './api.js'

/**
 * Error codes of the gateway, and of the client itself: no response (`network`), a response that is
 * not the gateway's (`unreadable_answer`), or one that ended early (`incomplete_answer`).
 */
export type ClientCode = Problem['code'] | 'network' | 'unreadable_answer' | 'incomplete_answer'

export interface ProblemFacts {
  code: ClientCode
  /** 0 without a response. */
  status: number
  requestId?: string | undefined
  /** True if the same request may succeed later. */
  retryable: boolean
  /** Tells if credits were spent. */
  billed: Problem['billed']
  retryAfterSeconds?: number | undefined
  cause?: unknown
}

/** A failed request. The message is for humans; branch on `code`. */
export class GatewayProblem extends Error {
  readonly code: ClientCode
  readonly status: number
  readonly requestId: string | undefined
  readonly retryable: boolean
  readonly billed: Problem['billed']
  readonly retryAfterSeconds: number | undefined

  constructor(message: string, { code, status, requestId, retryable, billed, retryAfterSeconds, cause }: ProblemFacts) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'GatewayProblem'
    this.code = code
    this.status = status
    this.requestId = requestId
    this.retryable = retryable
    this.billed = billed
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** Statuses with which proxies and load balancers report a temporary failure. */
const TEMPORARY_STATUSES: readonly number[] = [502, 503, 504]

/** Reads the problem from an error response. */
export async function readProblem(response: Response): Promise<GatewayProblem> {
  const problem = await response.json().catch(() => undefined)
  if (!isProblem(problem)) return unreadableAnswer(response)
  return toGatewayProblem(problem, readRetryAfter(response))
}

/** Creates the problem of an invalid response. The outcome of the request is unknown. */
export function unreadableAnswer(response: Response, cause?: unknown): GatewayProblem {
  const { status, headers } = response
  return new GatewayProblem(`The response with status ${status} is not a valid response of the gateway.`, {
    code: 'unreadable_answer',
    status,
    retryable: TEMPORARY_STATUSES.includes(status),
    billed: 'unknown',
    cause,
    requestId: headers.get('x-request-id') ?? undefined,
    retryAfterSeconds: readRetryAfter(response),
  })
}

/** Reads `Retry-After` in seconds. Ignores dates, which the gateway never sends. */
export function readRetryAfter({ headers }: Response): number | undefined {
  const text = headers.get('retry-after') ?? ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

export function toGatewayProblem(problem: Problem, retryAfterSeconds?: number): GatewayProblem {
  const { code, status, requestId, retryable, billed, detail } = problem
  return new GatewayProblem(detail, { code, status, requestId, retryable, billed, retryAfterSeconds })
}

/** Creates the problem of a request without a response. Its outcome is unknown. */
export function networkProblem(cause: unknown): GatewayProblem {
  return new GatewayProblem('The gateway could not be reached, or the connection was lost before a response arrived.', {
    code: 'network',
    status: 0,
    retryable: true,
    billed: 'unknown',
    cause,
  })
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && 'detail' in value
}
