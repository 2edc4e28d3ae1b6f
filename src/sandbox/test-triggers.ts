import { type ErrorCode, type ErrorOptions, GatewayError } from '../errors.js'
import type { Params } from '../segment/types.js'

/** What a prompt of a test key can ask for instead of a picture (docs/test-keys.md), by the code of the error. */
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

/** The picture comes, but later than its caller is let wait. */
export const SLOW = 'upstream_slow'
const TRIGGER = /\btest:([a-z_]+)/i

/** The trigger in a question, in lower case: what stands behind `test:`. */
export function triggerIn({ prompt = '' }: Params): string | undefined {
  return TRIGGER.exec(prompt)?.[1]?.toLowerCase()
}

/** The failure that a trigger asks for; one that does not exist is told as the failure of its input. */
export function failureOf(trigger: string): GatewayError | undefined {
  if (trigger === SLOW) return undefined
  const options = Object.hasOwn(FAILURES, trigger) ? FAILURES[trigger as ErrorCode] : undefined
  if (options) return new GatewayError(trigger as ErrorCode, `Simulated for a test key: ${trigger}.`, options)
  const known = [...Object.keys(FAILURES), SLOW].join(', ')
  return new GatewayError('upstream_rejected', `There is no test trigger of this name; there are: ${known}.`)
}

/** The prompt without its trigger; something has to be selected all the same. */
export function withoutTrigger(prompt: string): string {
  return prompt.replace(TRIGGER, '').trim() || 'the main thing'
}
