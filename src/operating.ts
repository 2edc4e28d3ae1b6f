import type { FastifyBaseLogger } from 'fastify'
import { Purges } from './cache/purges.js'
import type { ResultCache } from './cache/result-cache.js'
import type { Settings } from './config.js'
import type { Accounts } from './credits/accounts.js'
import { GatewayError } from './errors.js'
import type { TeamsAdmin } from './http/teams-routes.js'
import type { Activity } from './operations/activity.js'
import { type AuditEntry, AuditLog } from './operations/audit.js'
import { History, type HistoryOptions } from './operations/history.js'
import { formsOf } from './segment/shape.js'
import type { Store } from './storage.js'
import { endOfDate, expiryOf } from './teams/key-dates.js'
import { addKey, overrideBudget, revokeKey, rotateKey } from './teams/keys.js'
import type { WatchedTeams } from './teams/watch.js'

export interface OperationsParts {
  log: FastifyBaseLogger
  store: Store
  activity: Activity
  results: ResultCache
  turns: { depth(): ReadonlyMap<string, number> }
  client: { readonly inFlight: number }
  accounts: Accounts
  now(): number
  onFailure(error: unknown, doing: string): void
}

/** What operators look at and do: the history, the audit log, purges. */
export interface Operations {
  history: History
  audit: AuditLog
  purges: Purges
  close(): Promise<void>
}

export function openOperations(parts: OperationsParts): Operations {
  const { log, store, activity, results, now, onFailure } = parts
  const { records } = store
  const history = new History({
    ...{ records, activity, now },
    gauges: () => gaugesOf(parts),
    onStoreFailure: error => onFailure(error, 'history: write'),
  })
  const audit = new AuditLog({ records, now, onStoreFailure: error => onFailure(error, 'audit: write') })
  const purges = new Purges({
    records,
    forget: key => results.forget(key),
    forgetAll: () => results.forgetAll(),
    onStoreFailure: error => onFailure(error, 'purges: look'),
  })
  history.start()
  purges.start()
  return {
    ...{ history, audit, purges },
    async close() {
      purges.close()
      await Promise.all([history.close(), audit.close()])
      if (audit.unsaved.length > 0) log.error({ entries: audit.unsaved }, 'the store never got these audit entries')
    },
  }
}

function gaugesOf({ turns, client, accounts }: OperationsParts): ReturnType<HistoryOptions['gauges']> {
  const queue = [...turns.depth().values()].reduce((sum, depth) => sum + depth, 0)
  const { latest } = accounts.account.balance
  return { queue, inFlight: client.inFlight, ...(latest && { balance: latest.remaining }) }
}

/** Takes down who did what: in the log at once, whatever the store does, and in the audit log. */
export function auditInto(
  audit: AuditLog,
  log: FastifyBaseLogger,
): (done: Omit<AuditEntry, 'id' | 'at'>) => Promise<unknown> {
  return done => {
    const { action, subject, by, name, address, requestId, details } = done
    log.info({ action, subject, by, operator: name, address, requestId, details }, 'audit')
    return audit.add(done)
  }
}

/** Takes a result out, and what was made of it, and tells the other processes. Rejects with `StoreError`. */
export async function purgeResult(resultId: string, results: ResultCache, purges: Purges): Promise<boolean> {
  const { result } = await results.find(resultId, () => true)
  let isPurged = false
  for (const key of [resultId, ...(result ? formsOf(result) : [])]) {
    isPurged = (await results.purge(key)) || isPurged
    await purges.tell(key)
  }
  return isPurged
}

export async function purgeAllResults(results: ResultCache, purges: Purges): Promise<number> {
  const purged = await results.purgeAll()
  await purges.tell('*')
  return purged
}

const DAY_MS = 86_400_000

/** The teams file as operators change it. What they change holds here at once. */
export function createTeamsAdmin({
  settings,
  teams,
  now,
}: {
  settings: Settings
  teams: WatchedTeams
  now(): number
}): TeamsAdmin {
  const { file } = settings.teams
  const changed = async <T>(change: Promise<T>): Promise<T> => {
    const outcome = await change.catch(refusedByFile)
    // One look sees the change, the second one confirms it.
    await teams.look()
    await teams.look()
    return outcome
  }
  return {
    list: () => teams.keys().map(({ team, keys }) => ({ team, keys: keys.map(key => listed(key, team, now())) })),
    async createKey({ expires, ...wish }) {
      const nowMs = now()
      const made = await changed(addKey({ file, ...wish, expires: expiryIn(expires, nowMs), nowMs }))
      const { key, isNewTeam } = made
      const end = expiryIn(expires, nowMs)
      return { id: key.id, text: key.text, team: wish.team, isNewTeam, ...(end !== undefined && { expires: end }) }
    },
    async rotateKey(id, { overlapDays, expires }) {
      const nowMs = now()
      const how = { overlapMs: overlapDays * DAY_MS, expires: expiryIn(expires, nowMs) }
      const rotated = await changed(rotateKey({ file, keyId: id, nowMs, ...how }))
      if (!rotated) return undefined
      const { key, ...rest } = rotated
      return { id: key.id, text: key.text, replaces: id, ...rest }
    },
    revokeKey: id => changed(revokeKey(file, id, now())),
    overrideBudget: (team, override) => changed(overrideBudget(file, team, override)),
  }
}

function listed(
  { id, created, expires, note, test, revoked }: ReturnType<WatchedTeams['keys']>[number]['keys'][number],
  { disabled }: { disabled: boolean },
  now: number,
) {
  const isOver = expires !== undefined && now >= (endOfDate(expires) ?? 0)
  const state = revoked ? 'revoked' : isOver ? 'expired' : disabled ? 'team disabled' : 'active'
  return {
    ...{ id, state: state as 'active' | 'expired' | 'revoked' | 'team disabled' },
    ...(created !== undefined && { created }),
    ...(expires !== undefined && { expires }),
    ...(note !== undefined && { note }),
    ...(test && { test }),
  }
}

function expiryIn(wish: string | undefined, nowMs: number): string | undefined {
  if (wish === undefined) return undefined
  const expires = expiryOf(wish, nowMs)
  if (expires !== undefined) return expires
  throw new GatewayError(
    'invalid_parameter',
    'expires takes a number of days (90d) or a date (2027-11-01) that is not over.',
  )
}

/** Why the file was not changed is said as it is: whoever reads it can put it right. */
function refusedByFile(cause: unknown): never {
  if (cause instanceof GatewayError) throw cause
  const detail = `The teams file was not changed: ${cause instanceof Error ? cause.message : 'unknown reason'}`
  throw new GatewayError('store_unavailable', detail, { retryAfterSeconds: 5, cause })
}
