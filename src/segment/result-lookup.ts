import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { CacheKey, Caller, Result, Team } from '../contracts/types.js'
import { forFollower, isLeaderSpecific } from './failures.js'
import { isFresh, isServableStale } from './lookup.js'
import type { FlightNote, FlightOutcome, PipelineParts, QueuePlace } from './ports.js'

/** State of a result id. */
export type ResultState = { how: 'hit' | 'stale'; result: Result } | { how: 'running'; queue?: QueuePlace }

const STORE_RETRY_AFTER_SECONDS = 5
const DIED = 'The gateway process that was buying this result ended before it had the answer. Send the request again.'

/**
 * Looks up a result by its id, at no cost. Throws the failure of its purchase for a minute,
 * `unknown_result` (also for another team's result under `CACHE_SCOPE=team`), or
 * `store_unavailable` when the store does not respond.
 */
export async function lookUpResult(id: CacheKey, caller: Caller, parts: PipelineParts): Promise<ResultState> {
  const scope = parts.cacheScope === 'team' ? caller.team.id : ''
  const found = await parts.results.find(id, result => isFresh(result, parts))
  const result = found.result && (found.result.scope ?? '') === scope ? found.result : undefined
  if (result && isFresh(result, parts)) return { how: 'hit', result }
  if (isRunningHere(id, scope, parts)) return { how: 'running', ...queuePlaceOf(id, parts) }
  const flight = await parts.leases.look(id)
  if (flight && flight.note.scope === scope) {
    if (flight.isDead) return ofDeadLeader(flight.note, caller, parts)
    if (!flight.outcome) return { how: 'running' }
    const error = failureFor(caller, flight.note, flight.outcome)
    if (error && result && isServableStale(result, error, parts)) return { how: 'stale', result }
    if (error) throw error
  }
  if (!found.isSure) throw storeUnavailable()
  throw unknownResult()
}

/**
 * Returns the failure of a flight as this caller may see it. One that is specific to another team (its
 * budget, an id without bytes) says nothing about the result, and its detail is confidential. What the
 * purchase cost concerns the team that made it.
 */
function failureFor({ team }: Caller, note: FlightNote, { error }: FlightOutcome): unknown {
  const isSameTeam = note.team === team.id
  if (!error || isLeaderSpecific(error, isSameTeam)) return undefined
  return isSameTeam ? error : forFollower(error)
}

/**
 * Tells what the ledger knows of a purchase whose process died. A job that was submitted will be polled
 * to its end. Throws `unknown_result` if nothing was reserved, else `upstream_failed`.
 */
async function ofDeadLeader(last: FlightNote, caller: Caller, { ledger }: PipelineParts): Promise<ResultState> {
  // A leader that died before it planned a call left the note of the leader before it.
  for (let note: FlightNote | undefined = last; note; note = note.earlier) {
    const call = await ledger.find(note.callId, note.at).catch(() => {
      throw storeUnavailable()
    })
    if (!call) continue
    if (call.jobId !== undefined && call.state === 'reserved') return { how: 'running' }
    const billed = call.state === 'charged' ? 'yes' : 'unknown'
    const error = new GatewayError('upstream_failed', DIED, { billed })
    throw call.team === caller.team.id ? error : forFollower(error)
  }
  throw unknownResult()
}

/** Returns what a result cost its team; undefined for teams that did not buy it. */
export function purchaseCostFor({ id }: Pick<Team, 'id'>, { boughtBy, cost }: Result): Nanocredits | undefined {
  return boughtBy === id ? cost : undefined
}

/** The same error for every id that this caller cannot see. */
export function unknownResult(): GatewayError {
  return new GatewayError(
    'unknown_result',
    'There is no result with this id, or it has expired. Send the request again.',
  )
}

/** Returns the place of a flight that waits for a slot in this process. */
export function queuePlaceOf(name: string, { flights }: Pick<PipelineParts, 'flights'>): { queue?: QueuePlace } {
  return defined({ queue: flights.leaderOf(name)?.audience.place?.() })
}

/** Under `CACHE_SCOPE=team`, all requests of a flight belong to one team. */
function isRunningHere(id: CacheKey, scope: string, { flights }: PipelineParts): boolean {
  const leader = flights.leaderOf(id)
  return leader !== undefined && (scope === '' || leader.team === scope)
}

function storeUnavailable(): GatewayError {
  return new GatewayError('store_unavailable', 'The store does not respond, so the result cannot be looked up.', {
    retryAfterSeconds: STORE_RETRY_AFTER_SECONDS,
  })
}
