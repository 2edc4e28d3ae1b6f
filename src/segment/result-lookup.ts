import { GatewayError } from '../errors.js'
import { asFollower, isLeadersOwn, isServableStale } from './acceptance.js'
import type { PipelineParts } from './ports.js'
import type { CacheKey, Caller, Result } from './types.js'

/** What there is under the id of a result. */
export type ResultState = { how: 'hit' | 'stale'; result: Result } | { how: 'running' }

const STORE_RETRY_AFTER_SECONDS = 5

/**
 * Looks up a result by its id, without spending anything: it is there, or on its way. Throws what its purchase failed with in the last minute,
 * `unknown_result` (also for another team's under `CACHE_SCOPE=team`), `store_unavailable` when that cannot be known now.
 */
export async function lookUpResult(id: CacheKey, caller: Caller, parts: PipelineParts): Promise<ResultState> {
  const scope = parts.cacheScope === 'team' ? caller.team.id : ''
  const isFresh = (result: Result) => parts.now() - result.storedAt < parts.freshSeconds * 1000
  const found = await parts.results.find(id, isFresh)
  const result = found.result && (found.result.scope ?? '') === scope ? found.result : undefined
  if (result && isFresh(result)) return { how: 'hit', result }
  if (isRunningHere(id, scope, parts)) return { how: 'running' }
  const flight = await parts.leases.look(id)
  if (flight && flight.note.scope === scope) {
    if (!flight.landing) return { how: 'running' }
    // Another team's failure of its own (its budget, an id without bytes) says nothing about this result, and its detail is that team's.
    const { error: landed } = flight.landing
    const error = isLeadersOwn(landed, flight.note.team === caller.team.id) ? undefined : landed
    if (error && result && isServableStale(result, error, parts)) return { how: 'stale', result }
    if (error) throw asFollower(error)
  }
  if (!found.isSure) throw storeUnavailable()
  throw unknownResult()
}

/** The one answer for every id under which this caller finds nothing. */
export function unknownResult(): GatewayError {
  return new GatewayError(
    'unknown_result',
    'There is no result with this id, or it has expired; ask the question again.',
  )
}

/** Under `CACHE_SCOPE=team` all who share a name are of one team. */
function isRunningHere(id: CacheKey, scope: string, { flights }: PipelineParts): boolean {
  const leader = flights.leaderOf(id)
  return leader !== undefined && (scope === '' || leader === scope)
}

function storeUnavailable(): GatewayError {
  return new GatewayError('store_unavailable', 'The result cannot be looked up: the store does not answer.', {
    retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
  })
}
