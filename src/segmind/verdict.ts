import { type ErrorOptions, GatewayError } from '../errors.js'
import type { UpstreamOutcome } from '../segment/ports.js'
import type { Exchange } from './exchange.js'
import type { Again } from './retry.js'
import { readBill } from './wire-money.js'
import { readPicture } from './wire-picture.js'
import { askedWaitSeconds, cleanMessage, refusalError } from './wire-refusal.js'

/** An outcome. `isRefusal`: Segmind was there and said no (4xx), which is no trouble of its own whatever the code. */
export type Judged = UpstreamOutcome & { isRefusal?: true }

/** An outcome, and whether the same request may be sent again because it surely was not and will not be billed. */
export interface Verdict {
  outcome: Judged
  again?: Again
}

export interface Reading {
  apiKey: string
  now: number
}

const UNAVAILABLE_SECONDS = 5

/** Says what one exchange means: in the gateway's codes, in money, and for another attempt. */
export function judge(exchanged: Exchange, reading: Reading): Verdict {
  const { head } = exchanged
  if (head?.status === 200) return { outcome: answered(exchanged, head, reading) }
  return head ? refused({ ...head, body: exchanged.body }, reading) : unanswered(exchanged, reading)
}

/** What it means when no status came. */
export function unanswered(exchanged: Exchange, reading: Reading): Verdict {
  return exchanged.bodySent ? { outcome: lost(exchanged, reading) } : unsent(exchanged, reading)
}

type Head = NonNullable<Exchange['head']>

/** A 200 is billed, picture or not; one that was cut off only surely when its headers say what it cost. */
function answered(exchanged: Exchange, { headers }: Head, reading: Reading): UpstreamOutcome {
  const bill = readBill(headers)
  const picture = exchanged.end === 'complete' ? readPicture(exchanged.body) : undefined
  if (picture) return { kind: 'answered', ...picture, bill }
  const cut = exchanged.end === 'timeout' || exchanged.end === 'broken'
  const billed = cut && bill.cost === undefined ? 'unknown' : 'yes'
  return { kind: 'failed', error: pictureless(exchanged, { billed, ...causeOf(exchanged, reading) }), bill }
}

function pictureless({ end }: Exchange, options: ErrorOptions): GatewayError {
  switch (end) {
    case 'timeout':
      return new GatewayError('upstream_timeout', 'Segmind began its answer, but did not finish it in time.', options)
    case 'broken':
      return new GatewayError('upstream_failed', 'The answer of Segmind was cut off.', options)
    case 'too_long':
      return new GatewayError('upstream_failed', 'The answer of Segmind is larger than the gateway takes.', options)
    case 'complete':
      return new GatewayError('upstream_failed', 'Segmind answered without a JPEG, PNG or WebP picture.', options)
  }
}

const SERVER_ERRORS = new Set([500, 502, 504])

/** What an answer that is no 200 means: it was not billed. */
export function refused(refusal: Parameters<typeof refusalError>[0], reading: Reading): Verdict {
  const outcome: Judged = {
    kind: 'failed',
    error: refusalError(refusal, reading),
    bill: readBill(refusal.headers),
    ...markOf(refusal),
  }
  if (SERVER_ERRORS.has(refusal.status)) return { outcome, again: { why: 'server error' } }
  if (refusal.status !== 429 && refusal.status !== 503) return { outcome }
  const seconds = askedWaitSeconds(refusal.headers, reading.now)
  return { outcome, again: { why: 'busy', ...(seconds !== undefined && { askedWaitMs: seconds * 1000 }) } }
}

/** The mark of a refusal, where the status is one. */
export function markOf({ status }: { status: number }): { isRefusal?: true } {
  return status >= 400 && status < 500 ? { isRefusal: true } : {}
}

/** The request, or some of it, went out and no status came back: it may have been billed, so it is never sent again. */
function lost(exchanged: Exchange, reading: Reading): UpstreamOutcome {
  const options: ErrorOptions = { billed: 'unknown', ...causeOf(exchanged, reading) }
  const error =
    exchanged.end === 'timeout'
      ? new GatewayError('upstream_timeout', 'Segmind did not answer in time.', options)
      : new GatewayError('upstream_failed', 'The connection to Segmind broke before it answered.', options)
  return { kind: 'failed', error, bill: {} }
}

function unsent(exchanged: Exchange, reading: Reading): Verdict {
  const error = new GatewayError('upstream_unavailable', 'Segmind could not be reached; the request was not sent.', {
    billed: 'no',
    retryAfterSeconds: UNAVAILABLE_SECONDS,
    ...causeOf(exchanged, reading),
  })
  return { outcome: { kind: 'failed', error, bill: {} }, again: { why: 'unsent' } }
}

/** What lies behind, as a text for the log: a foreign error may hold what Segmind sent, and with it the key. */
export function causeOf({ cause }: Pick<Exchange, 'cause'>, { apiKey }: Reading): { cause?: Error } {
  if (!(cause instanceof Error)) return {}
  const code = 'code' in cause && typeof cause.code === 'string' ? `${cause.code}: ` : ''
  return { cause: new Error(cleanMessage(`${code}${cause.message}`, apiKey)) }
}
