import { randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { TraceContext } from '../../contracts/records.js'

/** Characters that are safe in a header, in a log line and in the name of a record. */
const REQUEST_ID = /^[\w.:/+=@~-]{1,128}$/

export function isRequestId(text: string): boolean {
  return REQUEST_ID.test(text)
}

/** Returns the caller's `X-Request-Id` where it is safe, else a new id. */
export function requestIdOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const id = headers['x-request-id']
  return typeof id === 'string' && REQUEST_ID.test(id) ? id : randomUUID()
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/
const ALL_ZERO = /^0+$/

/**
 * Reads a `traceparent` header (W3C Trace Context). Ignores an invalid one, as the standard
 * requires.
 */
export function readTraceparent(header: unknown): TraceContext | undefined {
  if (typeof header !== 'string') return undefined
  const [, traceId = '', parentId = '', flags = '', more] = TRACEPARENT.exec(header) ?? []
  if (traceId === '' || ALL_ZERO.test(traceId) || ALL_ZERO.test(parentId)) return undefined
  // Only later versions of the standard may add members after the flags.
  if (more === '-' && header.startsWith('00')) return undefined
  return { traceId, parentId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

const TRACE_ID_BYTES = 16

export function newTrace(): TraceContext {
  return { traceId: randomBytes(TRACE_ID_BYTES).toString('hex') }
}
