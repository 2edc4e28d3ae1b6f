import { defined } from '../contracts/defined.js'
import { type Billed, type ErrorCode, GatewayError } from '../contracts/errors.js'
import { headerOf, type WireHeaders } from './wire-response.js'

/** A response other than 200. */
export interface ErrorResponse {
  status: number
  headers: WireHeaders
  /** The part of the body that arrived; it may be cut off. */
  body: Buffer
}

/** Context for reading a response. */
export interface ErrorContext {
  /** The shared key, which is removed from messages if Segmind repeats it. */
  apiKey: string
  /** The gateway's clock, milliseconds since 1970. */
  now: number
}

const MESSAGE_LIMIT = 300
const BUSY_SECONDS = 5
const CREDITS_SECONDS = 60
const BILLED: Billed = 'no'

/**
 * Maps a response other than 200 to a gateway error (docs/segmind.md, Errors), with `billed: 'no'`:
 * Segmind bills only a 200. The message decides the code of a 406. The detail contains Segmind's
 * message where the caller can fix the request.
 */
export function errorFromResponse({ status, headers, body }: ErrorResponse, context: ErrorContext): GatewayError {
  const message = cleanMessage(messageOf(body), context.apiKey)
  const code = codeOf(status, message)
  const retryAfterSeconds = retryAfterOf(code, requestedWaitSeconds(headers, context.now))
  return new GatewayError(code, detailOf(code, status, message), {
    billed: BILLED,
    ...defined({ retryAfterSeconds }),
    ...(code === 'credits_exhausted' && { headers: { 'x-credit-state': 'empty' } }),
  })
}

/**
 * Reads the wait (1 to 60 s) that Segmind requests: until `x-rate-limit-reset-at-utc` (ISO or
 * epoch), else `Retry-After`. The reset is compared with the response's `Date` if present, so that
 * a difference between the clocks does not matter.
 */
export function requestedWaitSeconds(headers: WireHeaders, now: number): number | undefined {
  const upstreamNow = Date.parse(headerOf(headers, 'date') ?? '')
  const from = Number.isNaN(upstreamNow) ? now : upstreamNow
  const reset = timeOf(headerOf(headers, 'x-rate-limit-reset-at-utc'))
  const seconds = reset === undefined ? retryAfter(headerOf(headers, 'retry-after'), from) : (reset - from) / 1000
  return seconds === undefined ? undefined : Math.min(60, Math.max(1, Math.ceil(seconds)))
}

/**
 * Statuses with one meaning. 406 depends on the message; every other status, including 3xx, is
 * `upstream_failed`.
 */
const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'upstream_rejected',
  401: 'upstream_unauthorized',
  402: 'credits_exhausted',
  403: 'upstream_unauthorized',
  422: 'upstream_rejected',
  429: 'upstream_busy',
}

/** A 4xx that the same request gets again. 408 and 425 depend on the moment, 407 on a proxy. */
function isAboutRequest(status: number): boolean {
  return status >= 400 && status < 500 && status !== 407 && status !== 408 && status !== 425
}

function codeOf(status: number, message: string): ErrorCode {
  if (status !== 406) return CODES[status] ?? (isAboutRequest(status) ? 'upstream_rejected' : 'upstream_failed')
  if (/content[\s_-]*type/i.test(message)) return 'upstream_failed'
  return /credit|insufficient|\bbalance\b|spend\w*[\s_-]*limit/i.test(message)
    ? 'credits_exhausted'
    : 'upstream_rejected'
}

function retryAfterOf(code: ErrorCode, requested: number | undefined): number | undefined {
  if (code === 'upstream_busy') return requested ?? BUSY_SECONDS
  if (code === 'credits_exhausted') return CREDITS_SECONDS
  return code === 'upstream_failed' ? requested : undefined
}

const FAILURES: Readonly<Record<number, string>> = {
  404: 'Segmind does not know the model or the URL (HTTP 404)',
  405: 'Segmind does not accept this method at this URL (HTTP 405)',
  406: 'Segmind did not accept the content type of the request (HTTP 406)',
  410: 'Segmind has retired the model (HTTP 410)',
}

function detailOf(code: ErrorCode, status: number, message: string): string {
  switch (code) {
    case 'upstream_rejected':
      if (FAILURES[status] !== undefined && status !== 406) return failureDetail(status, message)
      return message === ''
        ? `Segmind refused the request without a reason (HTTP ${status}).`
        : `Segmind refused the request: ${message}`
    case 'upstream_unauthorized':
      return `Segmind refused the gateway's shared key (HTTP ${status}). An operator of the gateway must check the key.`
    case 'credits_exhausted':
      return 'The shared Segmind account has too few credits left, or has reached its spend limit.'
    case 'upstream_busy':
      return 'Segmind is limiting the rate of requests (HTTP 429).'
    default:
      return failureDetail(status, message)
  }
}

function failureDetail(status: number, message: string): string {
  if (status >= 300 && status < 400)
    return `Segmind returned a redirect (HTTP ${status}), which the gateway does not follow.`
  const failure = FAILURES[status] ?? `Segmind failed with HTTP ${status}`
  return message === '' ? `${failure}.` : `${failure}: ${message}`
}

/** Bytes that are not UTF-8, and control characters other than white space. */
const BINARY = /\ufffd|(?!\s)\p{Cc}/u

/**
 * Reads the message of an error body: `error`, then `detail`, then `message`, then the text. HTML
 * gives no message.
 */
function messageOf(body: Buffer): string {
  const text = body.toString('utf8').trim()
  if (text.startsWith('<') || BINARY.test(text)) return ''
  try {
    return messageIn(JSON.parse(text), 3) ?? text
  } catch {
    return text
  }
}

/**
 * Finds the first message in a value of an error body. A member may be text, a nested object or a
 * list of messages.
 */
function messageIn(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value
  if (typeof value !== 'object' || value === null || depth === 0) return undefined
  if (Array.isArray(value)) {
    const parts = value.slice(0, 10).map(item => messageIn(item, depth - 1))
    return parts.filter(part => part !== undefined).join('; ') || undefined
  }
  const members = value as Record<string, unknown>
  for (const name of ['error', 'detail', 'message', 'msg']) {
    const message = messageIn(members[name], depth - 1)
    if (message !== undefined) return message
  }
  return undefined
}

/**
 * Cleans a message from Segmind for display: one line of at most 300 characters. Replaces the
 * shared key, anything that looks like a Segmind key, and long runs of base64 (an echoed image).
 */
export function cleanMessage(text: string, apiKey: string): string {
  const withoutKey = apiKey === '' ? text : text.replaceAll(apiKey, '[key]')
  const line = withoutKey
    .replace(/\bSG_[A-Za-z0-9]{6,}/gi, '[key]')
    .replace(/[A-Za-z0-9+/=_-]{80,}/g, '[…]')
    .replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
  const characters = [...line]
  return characters.length <= MESSAGE_LIMIT ? line : `${characters.slice(0, MESSAGE_LIMIT - 1).join('')}…`
}

/**
 * Parses ISO 8601 (UTC by default), epoch seconds or epoch milliseconds into milliseconds since
 * 1970.
 */
function timeOf(text: string | undefined): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d{9,14}(\.\d+)?$/.test(value)) return Number(value) < 1e11 ? Number(value) * 1000 : Number(value)
  const iso = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|UTC|[+-]\d\d:?\d\d)?$/i.exec(value)
  if (!iso) return undefined
  const zone = iso[3] === undefined || /^utc$/i.test(iso[3]) ? 'Z' : iso[3]
  const time = Date.parse(`${iso[1]}T${iso[2]}${zone}`)
  return Number.isNaN(time) ? undefined : time
}

/** Parses `Retry-After` (RFC 9110 §10.2.3), seconds or a date, into seconds. */
function retryAfter(text: string | undefined, from: number): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d{1,9}(\.\d+)?$/.test(value)) return Number(value)
  const time = /[a-z]{3}/i.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(time) ? undefined : (time - from) / 1000
}
