import type { AccountBalance } from '../contracts/account.js'
import { GatewayError } from '../contracts/errors.js'
import { type CallOutcome, refusalMark } from './classify.js'
import type { Exchange } from './exchange.js'
import { type ErrorContext, errorFromResponse } from './wire-error.js'
import { readBalance } from './wire-response.js'

/** Reads the account balance from a response. Throws `upstream_*`. */
export function balanceFrom({ head, body, end }: Exchange, context: ErrorContext): AccountBalance {
  if (head && head.status !== 200) throw errorFromResponse({ ...head, body }, context)
  if (end === 'timeout') throw new GatewayError('upstream_timeout', 'Segmind did not return the balance in time.')
  if (!head) throw new GatewayError('upstream_unavailable', 'The balance request to Segmind failed.')
  const balance = end === 'complete' ? readBalance(body.toString('utf8')) : undefined
  if (balance === undefined) throw new GatewayError('upstream_failed', 'Segmind returned no readable balance.')
  return balance
}

/** Turns the response to a breaker probe (a balance request) into a call outcome. Never throws. */
export function probeOutcome(exchanged: Exchange, context: ErrorContext): CallOutcome {
  try {
    const { remaining } = balanceFrom(exchanged, context)
    return { kind: 'answered', body: Buffer.alloc(0), contentType: '', bill: { remaining } }
  } catch (cause) {
    const error = cause instanceof GatewayError ? cause : new GatewayError('upstream_failed', 'The probe failed.')
    return { kind: 'failed', error, bill: {}, ...(exchanged.head && refusalMark(exchanged.head.status)) }
  }
}
