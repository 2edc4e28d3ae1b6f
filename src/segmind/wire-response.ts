import type { AccountBalance } from '../contracts/account.js'
import { defined } from '../contracts/defined.js'
import { type Nanocredits, parseCredits } from '../contracts/nanocredits.js'
import type { Size } from '../contracts/types.js'
import { pictureOf } from '../images/containers/structure.js'
import type { Bill } from '../segment/ports.js'

/** Response headers as undici returns them: names in lower case, repeated headers as a list. */
export type WireHeaders = Readonly<Record<string, string | string[] | undefined>>

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/

/** Returns the value of a header, or the first value of a repeated one. */
export function headerOf(headers: WireHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

/**
 * Reads `x-cost`, `x-remaining-credits` and `x-request-id` (docs/segmind.md, Response). Members
 * stay absent when the header is missing or no decimal number, or the cost is negative: unknown is
 * never 0. The balance may be negative.
 */
export function readBill(headers: WireHeaders): Bill {
  const cost = parseCredits(headerOf(headers, 'x-cost'))
  const remaining = parseCredits(headerOf(headers, 'x-remaining-credits'))
  const upstreamRequestId = headerOf(headers, 'x-request-id')?.trim() ?? ''
  return {
    ...(cost !== undefined && cost >= 0 && { cost }),
    ...defined({ remaining }),
    ...(REQUEST_ID.test(upstreamRequestId) && { upstreamRequestId }),
  }
}

/**
 * Reads the account balance: the exact sum of `credits` and `free-credits`, and the latter alone.
 * One of the two may be missing. Returns `undefined` when both are missing or one is no number:
 * unknown is never 0.
 */
export function readBalance(body: string): AccountBalance | undefined {
  const given = parseObject(body) as Record<string, unknown>
  const [credits, free] = [given.credits ?? undefined, given['free-credits'] ?? undefined]
  const amounts = [credits, free].map(value => (value === undefined ? 0 : amountOf(value)))
  const [paid, unpaid] = amounts
  if ((credits === undefined && free === undefined) || paid === undefined || unpaid === undefined) return undefined
  return { remaining: paid + unpaid, free: unpaid }
}

function parseObject(body: string): object {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

/**
 * Parses a JSON amount exactly up to 15 digits: a double prints as the shortest decimal, which is
 * the text that Segmind sent.
 */
export function amountOf(value: unknown): Nanocredits | undefined {
  return typeof value === 'number' || typeof value === 'string' ? parseCredits(String(value)) : undefined
}

/** A picture and the content type detected from its bytes. */
export interface Picture {
  body: Buffer
  contentType: 'image/jpeg' | 'image/png' | 'image/webp'
  size: Size
}

const NOT_BASE64 = /[^A-Za-z0-9+/\-_=\s]/
const DATA_PREFIX = /^data:[^,]{0,200},/i

/**
 * Reads the picture from the body of a 200 (docs/segmind.md, Response): raw bytes, JSON
 * `{"image":"<base64>"}`, a JSON string or bare base64, the text forms with or without a `data:`
 * prefix. Ignores the declared content type and decides by the bytes. Returns `undefined` when
 * there is no whole picture.
 */
export function readPicture(body: Buffer): Picture | undefined {
  const picture = sniff(body)
  if (picture) return picture
  const text = base64Of(body.toString('utf8').trim())?.trim().replace(DATA_PREFIX, '')
  return text === undefined || NOT_BASE64.test(text) ? undefined : sniff(Buffer.from(text, 'base64'))
}

/** Returns the base64 text inside JSON, or the text itself when it is not JSON. */
function base64Of(text: string): string | undefined {
  if (!text.startsWith('{') && !text.startsWith('"')) return text
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'string') return value
    const image = (value as { image?: unknown }).image
    return typeof image === 'string' ? image : undefined
  } catch {
    return undefined
  }
}

function sniff(body: Buffer): Picture | undefined {
  const { type, size } = pictureOf(body) ?? {}
  return type && size && { body, contentType: `image/${type}`, size }
}
