import { defined } from '../contracts/defined.js'
import { type ErrorOptions, GatewayError } from '../contracts/errors.js'
import type { UpstreamFailure, UpstreamOutcome } from '../segment/ports.js'
import type { Exchange } from './exchange.js'
import type { Retry } from './retry.js'
import {
  cleanMessage,
  type ErrorContext,
  type ErrorResponse,
  errorFromResponse,
  requestedWaitSeconds,
} from './wire-error.js'
import { readBill, readPicture } from './wire-response.js'

/**
 * Outcome of a call. `isRefusal` marks a 4xx: Segmind is up and refused the request, so it is no
 * outage whatever the code.
 */
export type CallOutcome = UpstreamOutcome & { isRefusal?: true }

/**
 * An outcome. `retry` is set when the same request was certainly not billed and may be sent again.
 */
export interface ClassifiedCall {
  outcome: CallOutcome
  retry?: Retry
}

const UNAVAILABLE_SECONDS = 5

/** Classifies an upstream response: error code, cost, whether a retry is safe. */
export function classify(exchanged: Exchange, context: ErrorContext): ClassifiedCall {
  const { head, body } = exchanged
  if (!head) return classifyNoResponse(exchanged, context)
  if (head.status === 200) return { outcome: classifySuccess(exchanged, head, context) }
  return classifyError({ ...head, body }, context)
}

/** Classifies an exchange in which no status arrived. */
export function classifyNoResponse(exchanged: Exchange, context: ErrorContext): ClassifiedCall {
  return exchanged.bodySent ? { outcome: lostCall(exchanged, context) } : unsentCall(exchanged, context)
}

type Head = NonNullable<Exchange['head']>

/**
 * A 200 is billed, with or without a picture. If it was cut off, that is certain only when its
 * headers carry the cost.
 */
function classifySuccess(exchanged: Exchange, { headers }: Head, context: ErrorContext): UpstreamOutcome {
  const bill = readBill(headers)
  const picture = exchanged.end === 'complete' ? readPicture(exchanged.body) : undefined
  if (picture) return { kind: 'answered', ...picture, bill }
  const isCut = exchanged.end === 'timeout' || exchanged.end === 'broken'
  const isUnknown = isCut && bill.cost === undefined
  // A repeated request would pay again.
  const paid = isUnknown ? ({ billed: 'unknown' } as const) : ({ billed: 'yes', retryable: false } as const)
  return { kind: 'failed', error: noPictureError(exchanged, { ...paid, ...causeOf(exchanged, context) }), bill }
}

function noPictureError({ end }: Exchange, options: ErrorOptions): GatewayError {
  switch (end) {
    case 'timeout':
      return new GatewayError('upstream_timeout', 'Segmind began its response but did not finish it in time.', options)
    case 'broken':
      return new GatewayError('upstream_failed', "Segmind's response was cut off.", options)
    case 'too_long':
      return new GatewayError('upstream_failed', "Segmind's response exceeds the gateway's size limit.", options)
    case 'complete':
      return new GatewayError(
        'upstream_failed',
        "Segmind's response contains no whole JPEG, PNG or WebP picture.",
        options,
      )
  }
}

const SERVER_ERRORS = new Set([500, 502, 504])

/**
 * Classifies a response other than 200, which Segmind does not bill. One that states a cost
 * contradicts that: its call may have been billed, so it is never repeated.
 */
export function classifyError(response: ErrorResponse, context: ErrorContext): ClassifiedCall {
  const { status, headers } = response
  const bill = readBill(headers)
  const error = errorFromResponse(response, context)
  const outcome: UpstreamFailure & CallOutcome = { kind: 'failed', error, bill, ...refusalMark(status) }
  if (bill.cost !== undefined && bill.cost > 0) return { outcome: { ...outcome, error: error.asBilled('unknown') } }
  if (SERVER_ERRORS.has(status)) return { outcome, retry: { reason: 'server error' } }
  if (status !== 429 && status !== 503) return { outcome }
  const seconds = requestedWaitSeconds(headers, context.now)
  return { outcome: { ...outcome, busy: defined({ waitMs: seconds === undefined ? undefined : seconds * 1000 }) } }
}

/** Marks a 4xx as a refusal. */
export function refusalMark(status: number): { isRefusal?: true } {
  return status >= 400 && status < 500 ? { isRefusal: true } : {}
}

/**
 * The request was sent, at least in part, and no status arrived. It may have been billed, so it is
 * never resent.
 */
function lostCall(exchanged: Exchange, context: ErrorContext): UpstreamOutcome {
  const options: ErrorOptions = { billed: 'unknown', ...causeOf(exchanged, context) }
  const error =
    exchanged.end === 'timeout'
      ? new GatewayError('upstream_timeout', 'Segmind did not respond in time.', options)
      : new GatewayError('upstream_failed', 'The connection to Segmind broke before a response arrived.', options)
  return { kind: 'failed', error, bill: {} }
}

function unsentCall(exchanged: Exchange, context: ErrorContext): ClassifiedCall {
  const error = new GatewayError('upstream_unavailable', 'Segmind is unreachable; the request was not sent.', {
    billed: 'no',
    retryAfterSeconds: UNAVAILABLE_SECONDS,
    ...causeOf(exchanged, context),
  })
  return { outcome: { kind: 'failed', error, bill: {} }, retry: { reason: 'unsent' } }
}

/**
 * Copies the cause as cleaned text for the log. The original error may contain what Segmind sent,
 * including the key.
 */
export function causeOf({ cause }: Pick<Exchange, 'cause'>, { apiKey }: ErrorContext): { cause?: Error } {
  if (!(cause instanceof Error)) return {}
  const code = 'code' in cause && typeof cause.code === 'string' ? `${cause.code}: ` : ''
  return { cause: new Error(cleanMessage(`${code}${cause.message}`, apiKey)) }
}
