import { type ErrorCode, type ErrorOptions, GatewayError } from '../contracts/errors.js'
import type { Params } from '../contracts/types.js'

/** Errors that a test key's prompt can trigger, by code (docs/test-keys.md, Triggers). */
const FAILURES: Partial<Record<ErrorCode, ErrorOptions>> = {
  rate_limited: { retryAfterSeconds: 2 },
  budget_exhausted: { retryAfterSeconds: 3600 },
  credits_exhausted: { retryAfterSeconds: 60, headers: { 'x-credit-state': 'empty' } },
  credits_reserved: { retryAfterSeconds: 60, headers: { 'x-credit-state': 'reserve' } },
  overloaded: { retryAfterSeconds: 2 },
  upstream_busy: { retryAfterSeconds: 5 },
  upstream_unavailable: { retryAfterSeconds: 5 },
  store_unavailable: { retryAfterSeconds: 5 },
  upstream_failed: {},
  upstream_rejected: {},
  upstream_unauthorized: {},
  upstream_timeout: { billed: 'unknown' },
}

/** Trigger of a picture that arrives after the caller's timeout. */
export const SLOW = 'upstream_slow'
const TRIGGER = /\btest:([a-z_]+)/i

/** Returns the trigger in a prompt: the text after `test:`, in lower case. */
export function triggerIn({ prompt = '' }: Params): string | undefined {
  return TRIGGER.exec(prompt)?.[1]?.toLowerCase()
}

/**
 * Returns the error of a trigger, or none for `SLOW`. An unknown trigger gets `upstream_rejected`.
 */
export function failureOf(trigger: string): GatewayError | undefined {
  if (trigger === SLOW) return undefined
  const options = Object.hasOwn(FAILURES, trigger) ? FAILURES[trigger as ErrorCode] : undefined
  if (options) return new GatewayError(trigger as ErrorCode, `Simulated for a test key: ${trigger}.`, options)
  const known = [...Object.keys(FAILURES), SLOW].join(', ')
  return new GatewayError('upstream_rejected', `There is no test trigger of this name; there are: ${known}.`)
}

/**
 * Removes the trigger from a prompt. If no text remains, returns a prompt that selects the main
 * object.
 */
export function withoutTrigger(prompt: string): string {
  return prompt.replace(TRIGGER, '').trim() || 'the main thing'
}
