import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { Exchange } from './exchange.js'
import { type Judged, markOf, type Reading } from './verdict.js'
import { readBalance } from './wire-money.js'
import { refusalError } from './wire-refusal.js'

export interface Balance {
  remaining: Nanocredits
}

/** The balance in an answer. Throws `upstream_*`. */
export function balanceIn({ head, body, end }: Exchange, reading: Reading): Balance {
  if (head && head.status !== 200) throw refusalError({ ...head, body }, reading)
  if (end === 'timeout') throw new GatewayError('upstream_timeout', 'Segmind did not tell the balance in time.')
  if (!head) throw new GatewayError('upstream_unavailable', 'Segmind could not be asked for the balance.')
  const remaining = end === 'complete' ? readBalance(body.toString('utf8')) : undefined
  if (remaining === undefined) throw new GatewayError('upstream_failed', 'Segmind answered without a readable balance.')
  return { remaining }
}

/** The same as the answer to whether Segmind is back. */
export function judgeProbe(exchanged: Exchange, reading: Reading): Judged {
  try {
    const { remaining } = balanceIn(exchanged, reading)
    return { kind: 'answered', body: Buffer.alloc(0), contentType: '', bill: { remaining } }
  } catch (error) {
    const known = error instanceof GatewayError ? error : new GatewayError('upstream_failed', 'The probe failed.')
    return { kind: 'failed', error: known, bill: {}, ...(exchanged.head && markOf(exchanged.head)) }
  }
}
