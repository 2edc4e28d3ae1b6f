import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { ListedKey, TeamKey } from '../contracts/keys.js'
import type { TeamsAdmin } from '../http/admin/teams.js'
import { endOfDate, expiryOf } from '../teams/key-dates.js'
import { addKey, overrideBudget, revokeKey, rotateKey } from '../teams/keys.js'
import type { WatchedTeams } from '../teams/watch.js'

const DAY_MS = 86_400_000

export interface TeamsAdminOptions {
  /** `TEAMS_FILE`. */
  file: string
  teams: WatchedTeams
  now: Clock
}

/**
 * Builds the operators' changes to the teams file. A change takes effect in this process before it
 * is answered.
 */
export function createTeamsAdmin({ file, teams, now }: TeamsAdminOptions): TeamsAdmin {
  const apply = async <T>(change: Promise<T>): Promise<T> => {
    const outcome = await change.catch(rejectFileError)
    // The watcher sees the change at the first look and confirms it at the second.
    await teams.reload()
    await teams.reload()
    return outcome
  }
  return {
    list: () => teams.keys().map(({ team, keys }) => ({ team, keys: keys.map(key => listedKey(key, team, now())) })),
    async createKey({ expires, ...input }) {
      const nowMs = now()
      const end = expiryIn(expires, nowMs)
      const { key, isNewTeam } = await apply(addKey({ file, ...input, expires: end, nowMs }))
      return { id: key.id, text: key.text, team: input.team, isNewTeam, ...defined({ expires: end }) }
    },
    async rotateKey(id, { overlapDays, expires }) {
      const nowMs = now()
      const overlapMs = overlapDays * DAY_MS
      const rotated = await apply(rotateKey({ file, keyId: id, nowMs, overlapMs, expires: expiryIn(expires, nowMs) }))
      if (!rotated) return undefined
      const { key, ...rest } = rotated
      return { id: key.id, text: key.text, replaces: id, ...rest }
    },
    revokeKey: id => apply(revokeKey(file, id, now())),
    overrideBudget: (team, override) => apply(overrideBudget(file, team, override)),
  }
}

function listedKey(
  { id, created, expires, note, test, revoked }: TeamKey,
  { disabled }: { disabled: boolean },
  now: number,
): ListedKey {
  const isExpired = expires !== undefined && now >= (endOfDate(expires) ?? 0)
  const state = revoked ? 'revoked' : isExpired ? 'expired' : disabled ? 'team disabled' : 'active'
  return {
    id,
    state,
    ...defined({ created, expires, note }),
    ...(test && { test }),
  }
}

function expiryIn(text: string | undefined, nowMs: number): string | undefined {
  if (text === undefined) return undefined
  const expires = expiryOf(text, nowMs)
  if (expires !== undefined) return expires
  const detail = 'expires takes a number of days (90d) or a future date (2027-11-01).'
  throw new GatewayError('invalid_parameter', detail)
}

/**
 * Reports the reason in full: the operator who reads it can correct the file, and nothing else
 * helps.
 */
function rejectFileError(cause: unknown): never {
  if (cause instanceof GatewayError) throw cause
  const detail = `The teams file was not changed: ${cause instanceof Error ? cause.message : 'unknown reason'}`
  throw new GatewayError('store_unavailable', detail, { retryable: false, retryAfterSeconds: 5, cause })
}
