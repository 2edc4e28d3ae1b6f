import { STATUS_CODES } from 'node:http'

/** Outcome of sending a message once. Contains no part of the address that is secret. */
export interface Attempt {
  /** Absent if no response arrived. */
  status?: number
  /** Reason for a missing response: a code such as `ECONNREFUSED`, or `timeout`. */
  problem?: string
  /** Pause requested by the receiver. */
  retryAfterMs?: number
  durationMs: number
}

/** Tells whether the receiver accepted the message: any 2xx. */
export function isAccepted({ status = 0 }: Attempt): boolean {
  return status >= 200 && status < 300
}

/** Describes an attempt: `answered 503 Service Unavailable`. */
export function describeAttempt({ status, problem }: Attempt): string {
  if (problem === 'timeout') return 'did not answer in time'
  if (status === undefined) return `could not be reached (${problem})`
  return `answered ${`${status} ${STATUS_CODES[status] ?? ''}`.trim()}`
}

/** Parses `Retry-After`, seconds or a date (RFC 9110 §10.2.3), into milliseconds from `now`. */
export function retryAfterMs(header: string | string[] | undefined, now: number): number | undefined {
  if (typeof header !== 'string') return undefined
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}

/** Returns the code of a failure. Never its message, which may contain the address. */
export function problemOf(error: unknown): string {
  const { code, name } = error as { code?: unknown; name?: unknown }
  if (name === 'TimeoutError' || TIMEOUTS.has(`${code}`)) return 'timeout'
  if (typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code)) return code
  return name === 'StoreError' ? 'the store with the signing secret does not respond' : 'unknown failure'
}

const TIMEOUTS = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_ABORTED',
])
