import type { Problem } from './api.js'

/** What may go wrong beside the gateway's own codes: no answer came, it was not the gateway's, or it ended before its time. */
export type ClientCode = Problem['code'] | 'network' | 'unreadable_answer' | 'incomplete_answer'

export interface ProblemFacts {
  code: ClientCode
  /** 0 where no answer came. */
  status: number
  requestId?: string | undefined
  /** Whether sending the same again may succeed. */
  retryable: boolean
  /** Whether credits were spent. */
  billed: Problem['billed']
  retryAfterSeconds?: number | undefined
  cause?: unknown
}

/** A failure of a request; the message is the gateway's own sentence for people. Decide by `code`. */
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

/** Statuses of a proxy or load balancer that has no better words. */
const PASSING: readonly number[] = [502, 503, 504]

/** Reads the problem in an answer that is none of success. */
export async function problemIn(response: Response): Promise<GatewayProblem> {
  const problem = await response.json().catch(() => undefined)
  return isProblem(problem) ? problemOf(problem, { retryAfterSeconds: retryAfterIn(response) }) : unreadable(response)
}

/** What answered was not the gateway, or not as the gateway answers; what became of the request is not known. */
export function unreadable(response: Response, cause?: unknown): GatewayProblem {
  const { status, headers } = response
  return new GatewayProblem(`The answer, with status ${status}, is none of the gateway's.`, {
    ...{ code: 'unreadable_answer', status, retryable: PASSING.includes(status), billed: 'unknown', cause },
    requestId: headers.get('x-request-id') ?? undefined,
    retryAfterSeconds: retryAfterIn(response),
  })
}

/** `Retry-After` in seconds; undefined where it is absent, or a date, which the gateway never sends. */
export function retryAfterIn({ headers }: Response): number | undefined {
  const text = headers.get('retry-after') ?? ''
  return /^\d+$/.test(text) ? Number(text) : undefined
}

/** The same of a problem that was told inside of another answer. */
export function problemOf(problem: Problem, around: Partial<ProblemFacts> = {}): GatewayProblem {
  const { code, status, requestId, retryable, billed, detail } = problem
  return new GatewayProblem(detail, { ...around, code, status, requestId, retryable, billed })
}

/** No answer came; what became of the request is not known. */
export function networkProblem(cause: unknown): GatewayProblem {
  return new GatewayProblem('The gateway could not be reached, or the connection broke.', {
    ...{ code: 'network', status: 0, retryable: true, billed: 'unknown', cause },
  })
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && 'detail' in value
}
