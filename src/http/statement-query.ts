import { GatewayError } from '../errors.js'
import { StoreError } from '../storage.js'

const MONTH = /^\d{4}-(0[1-9]|1[0-2])$/
const TEAM_ID = /^[a-z0-9-]{1,32}$/
const STORE_RETRY_AFTER_SECONDS = 5

/** The parameters of a statement. Throws `invalid_request` for any that is not `known`. */
export function readFields(query: unknown, known: readonly string[]): Record<string, unknown> {
  const fields = query as Record<string, unknown>
  const unknown = Object.keys(fields).filter(name => !known.includes(name))
  if (unknown.length === 0) return fields
  const list = known.length === 1 ? `Only ${known[0]} is known.` : `Known are ${known.join(', ')}.`
  throw new GatewayError('invalid_request', `Unknown parameter: ${unknown.join(', ').slice(0, 60)}. ${list}`)
}

export function readMonth(month: unknown): string {
  if (typeof month === 'string' && MONTH.test(month)) return month
  throw new GatewayError('invalid_parameter', 'month must be given once, as YYYY-MM, such as 2026-11.')
}

export function readTeam(team: unknown): string | undefined {
  if (team === undefined || (typeof team === 'string' && TEAM_ID.test(team))) return team
  throw new GatewayError('invalid_parameter', 'team must be given once, as the id of a team, such as vision.')
}

/** Says a store that does not answer as `store_unavailable`. */
export async function fromBooks<T>(step: Promise<T>): Promise<T> {
  try {
    return await step
  } catch (cause) {
    if (!(cause instanceof StoreError)) throw cause
    throw new GatewayError('store_unavailable', 'The statement cannot be read: the store does not answer.', {
      retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
      cause,
    })
  }
}
