import { type Billed, type ErrorCode, GatewayError } from '../errors.js'
import { headerOf, type WireHeaders } from './wire-money.js'

/** An answer that is no 200, as it arrived. */
export interface Refusal {
  status: number
  headers: WireHeaders
  /** As much of it as arrived; what it says is read from its beginning. */
  body: Buffer
}

interface Reading {
  /** The shared key: never repeated to anybody, even when Segmind repeats it. */
  apiKey: string
  /** Our clock, milliseconds since 1970. */
  now: number
}

const MESSAGE_LIMIT = 300
const BUSY_SECONDS = 5
const CREDITS_SECONDS = 60
const BILLED: Billed = 'no'

/**
 * Says an answer that is no 200 in the gateway's codes (SEGMIND.md, Errors): nothing was billed, Segmind bills only a 200.
 * A 406 is told apart by its message. Where the caller can mend the request, Segmind's own message is in the detail.
 */
export function refusalError(refusal: Refusal, { apiKey, now }: Reading): GatewayError {
  const message = cleanMessage(messageOf(refusal.body), apiKey)
  const code = codeOf(refusal.status, message)
  const retryAfterSeconds = retryAfterOf(code, askedWaitSeconds(refusal.headers, now))
  const detail = detailOf(code, refusal.status, message)
  return new GatewayError(code, detail, {
    billed: BILLED,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    ...(code === 'credits_exhausted' && { headers: { 'x-credit-state': 'empty' } }),
  })
}

/**
 * Seconds (1–60) that Segmind asks for before another request: until `x-rate-limit-reset-at-utc` (ISO or epoch), else
 * `Retry-After`. Where the answer has a `Date`, the reset is taken against it: both are Segmind's clock, whatever ours says.
 */
export function askedWaitSeconds(headers: WireHeaders, now: number): number | undefined {
  const theirNow = Date.parse(headerOf(headers, 'date') ?? '')
  const from = Number.isNaN(theirNow) ? now : theirNow
  const reset = timeOf(headerOf(headers, 'x-rate-limit-reset-at-utc'))
  const seconds = reset === undefined ? retryAfter(headerOf(headers, 'retry-after'), from) : (reset - from) / 1000
  return seconds === undefined ? undefined : Math.min(60, Math.max(1, Math.ceil(seconds)))
}

/** Statuses that always mean one thing; every other one, 3xx and unknown ones included, is a failure of the upstream. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'upstream_rejected',
  401: 'upstream_unauthorized',
  402: 'credits_exhausted',
  403: 'upstream_unauthorized',
  422: 'upstream_rejected',
  429: 'upstream_busy',
}

function codeOf(status: number, message: string): ErrorCode {
  if (status !== 406) return CODES[status] ?? 'upstream_failed'
  if (/content[\s_-]*type/i.test(message)) return 'upstream_failed'
  return /credit|insufficient|\bbalance\b|spend\w*[\s_-]*limit/i.test(message)
    ? 'credits_exhausted'
    : 'upstream_rejected'
}

function retryAfterOf(code: ErrorCode, asked: number | undefined): number | undefined {
  if (code === 'upstream_busy') return asked ?? BUSY_SECONDS
  if (code === 'credits_exhausted') return CREDITS_SECONDS
  return code === 'upstream_failed' ? asked : undefined
}

const FAILURES: Readonly<Record<number, string>> = {
  404: 'Segmind does not know the model or the address it was asked at (HTTP 404)',
  405: 'Segmind does not take this request at this address (HTTP 405)',
  406: 'Segmind did not take the form of the request (HTTP 406)',
  410: 'Segmind has retired the model (HTTP 410)',
}

function detailOf(code: ErrorCode, status: number, message: string): string {
  switch (code) {
    case 'upstream_rejected':
      return message === ''
        ? `Segmind refused the request without saying why (HTTP ${status}).`
        : `Segmind refused the request: ${message}`
    case 'upstream_unauthorized':
      return `Segmind refused the key that the gateway shares (HTTP ${status}); its operators have to look at it.`
    case 'credits_exhausted':
      return 'The shared Segmind account has too few credits left, or has reached its spend limit.'
    case 'upstream_busy':
      return 'Segmind is limiting the rate of requests (HTTP 429).'
    default:
      return failure(status, message)
  }
}

function failure(status: number, message: string): string {
  if (status >= 300 && status < 400) return `Segmind answered with a redirect (HTTP ${status}), which is not followed.`
  const what = FAILURES[status] ?? `Segmind failed with HTTP ${status}`
  return message === '' ? `${what}.` : `${what}: ${message}`
}

/** The message of an error body: `error`, then `detail`, then `message`, then the text, unless that is HTML. */
function messageOf(body: Buffer): string {
  const text = body.toString('utf8').trim()
  if (text.startsWith('<')) return ''
  try {
    return sentenceOf(JSON.parse(text), 3) ?? text
  } catch {
    return text
  }
}

/** The first sentence in a value of an error body: each member may be a text, an object of its own, or a list of complaints. */
function sentenceOf(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return value.trim() === '' ? undefined : value
  if (typeof value !== 'object' || value === null || depth === 0) return undefined
  if (Array.isArray(value)) {
    const parts = value.slice(0, 10).map(item => sentenceOf(item, depth - 1))
    return parts.filter(part => part !== undefined).join('; ') || undefined
  }
  const { error, detail, message, msg } = value as Record<string, unknown>
  for (const member of [error, detail, message, msg]) {
    const sentence = sentenceOf(member, depth - 1)
    if (sentence !== undefined) return sentence
  }
  return undefined
}

/**
 * Makes a foreign message fit to be shown: one line of at most 300 characters without the shared key, anything that looks
 * like a Segmind key, or long runs of base64 (an echoed image).
 */
export function cleanMessage(text: string, apiKey: string): string {
  const secretless = apiKey === '' ? text : text.replaceAll(apiKey, '[key]')
  const line = secretless
    .replace(/\bSG_[A-Za-z0-9]{6,}/gi, '[key]')
    .replace(/[A-Za-z0-9+/=_-]{80,}/g, '[…]')
    .replace(/[\s\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
  const characters = [...line]
  return characters.length <= MESSAGE_LIMIT ? line : `${characters.slice(0, MESSAGE_LIMIT - 1).join('')}…`
}

/** Milliseconds since 1970 of a moment said in ISO 8601 (UTC where no zone is given) or in epoch seconds or milliseconds. */
function timeOf(text: string | undefined): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d{9,14}(\.\d+)?$/.test(value)) return Number(value) < 1e11 ? Number(value) * 1000 : Number(value)
  const iso = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|UTC|[+-]\d\d:?\d\d)?$/i.exec(value)
  if (!iso) return undefined
  const zone = iso[3] === undefined || /^utc$/i.test(iso[3]) ? 'Z' : iso[3]
  const time = Date.parse(`${iso[1]}T${iso[2]}${zone}`)
  return Number.isNaN(time) ? undefined : time
}

/** `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. */
function retryAfter(text: string | undefined, from: number): number | undefined {
  const value = text?.trim() ?? ''
  if (/^\d{1,9}(\.\d+)?$/.test(value)) return Number(value)
  const time = /[a-z]{3}/i.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(time) ? undefined : (time - from) / 1000
}
