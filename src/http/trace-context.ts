import { randomBytes } from 'node:crypto'

/** Where a request stands in a trace (W3C Trace Context): ids in lower-case hex. */
export interface TraceContext {
  traceId: string
  /** The caller's span, where it sent one. */
  parentId?: string
  isSampled?: boolean
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/
const NONE = /^0+$/

/** The trace that a caller's `traceparent` names; a header that is none is ignored, as the standard wants it. */
export function readTraceparent(header: unknown): TraceContext | undefined {
  const [, traceId = '', parentId = '', flags = '', more] =
    (typeof header === 'string' && TRACEPARENT.exec(header)) || []
  if (traceId === '' || NONE.test(traceId) || NONE.test(parentId)) return undefined
  // What follows the flags belongs to a later version of the standard.
  if (more === '-' && typeof header === 'string' && header.startsWith('00')) return undefined
  return { traceId, parentId, isSampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

const TRACE_ID_BYTES = 16

export function newTrace(): TraceContext {
  return { traceId: randomBytes(TRACE_ID_BYTES).toString('hex') }
}
