import { STATUS_CODES } from 'node:http'

/** What came of sending a message once. Says nothing of the address but what a log may hold. */
export interface Attempt {
  /** Absent when no answer arrived. */
  status?: number
  /** Why there was none: a code such as `ECONNREFUSED`, or `timeout`. */
  problem?: string
  /** How long the receiver asks to be left alone. */
  retryAfterMs?: number
  durationMs: number
}

export function isTaken({ status = 0 }: Attempt): boolean {
  return status >= 200 && status < 300
}

/** An attempt in words: `answered 503 Service Unavailable`. */
export function describeAttempt({ status, problem }: Attempt): string {
  if (problem === 'timeout') return 'did not answer in time'
  if (status === undefined) return `could not be reached (${problem})`
  return `answered ${`${status} ${STATUS_CODES[status] ?? ''}`.trim()}`
}

/** `Retry-After`, as seconds or as a date (RFC 9110 §10.2.3), in milliseconds from `now`. */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string') return undefined
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** The code of a failure. Never its message, which may repeat the address. */
export function problemOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown }
  if (name === 'TimeoutError' || TIMEOUTS.has(`${code}`)) return 'timeout'
  if (typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code)) return code
  return name === 'StoreError' ? 'the store with the signing secret does not answer' : 'unknown failure'
}

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_ABORTED',
])
