import { type Nanocredits, parseCredits } from '../nanocredits.js'
import type { Bill } from '../segment/ports.js'

/** Headers of an answer as undici gives them: names in lower case, a list where a header came more than once. */
export type WireHeaders = Readonly<Record<string, string | string[] | undefined>>

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/

/** The value of a header; the first one where it came more than once. */
export function headerOf(headers: WireHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

/**
 * Reads what an answer says about money: `x-cost`, `x-remaining-credits`, `x-request-id` (SEGMIND.md, Response). What is missing,
 * is no decimal number, or is a negative cost stays absent: unknown is never 0. The balance may be below 0.
 */
export function readBill(headers: WireHeaders): Bill {
  const cost = parseCredits(headerOf(headers, 'x-cost'))
  const remaining = parseCredits(headerOf(headers, 'x-remaining-credits'))
  const upstreamRequestId = headerOf(headers, 'x-request-id')?.trim() ?? ''
  return {
    ...(cost !== undefined && cost >= 0 && { cost }),
    ...(remaining !== undefined && { remaining }),
    ...(REQUEST_ID.test(upstreamRequestId) && { upstreamRequestId }),
  }
}

/**
 * Reads the balance of the account: `credits` and `free-credits` added up, each through its decimal text so that the sum is exact.
 * One of the two may be missing; `undefined` when both are, or when one is not a number: unknown is never 0.
 */
export function readBalance(body: string): Nanocredits | undefined {
  const said = Object.entries(parseObject(body)).filter(
    ([name, value]) => (name === 'credits' || name === 'free-credits') && value !== null,
  )
  const amounts = said.map(([, value]) => amountOf(value)).filter(amount => amount !== undefined)
  if (said.length === 0 || amounts.length < said.length) return undefined
  return amounts.reduce((sum, amount) => sum + amount, 0)
}

function parseObject(body: string): object {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

/** A double prints the shortest decimal that names it: what Segmind wrote, up to 15 digits. */
export function amountOf(value: unknown): Nanocredits | undefined {
  return typeof value === 'number' || typeof value === 'string' ? parseCredits(String(value)) : undefined
}
