import type { CreditFacts } from './http/credits-route.js'
import type { OperatorParts } from './http/operator-routes.js'
import type { GatewayFacts, Overview, Spending, TeamStanding } from './http/overview-json.js'
import type { Figures, Statement } from './http/statement-json.js'
import { auditInto, createTeamsAdmin, purgeAllResults, purgeResult } from './operating.js'
import { HISTORY_HOURS } from './operations/history.js'
import { quantile } from './operations/minute.js'
import type { Parts } from './parts.js'
import { endOfDate } from './teams/key-dates.js'

/** What is told elsewhere, too. */
export interface Told {
  credits(): CreditFacts
  statement(month: string): Promise<Statement>
}

/** Between two looks of those who look on, and how long a look serves for all of them. */
const EVERY_MS = 2_000
const OVERVIEW_MS = 1_000
/** The books are read no more often than this: a month of all teams is much. */
const STATEMENT_MS = 5_000
/** A key is told that ends within so long, or has ended lately. */
const EXPIRING_MS = 30 * 86_400_000
const EXPIRED_MS = 7 * 86_400_000
const ERRORS_SHOWN = 50

/** What operators get to see and do. */
export function operatorPartsOf(parts: Parts, told: Told): OperatorParts {
  const { operations, results } = parts
  const standings = remembered(STATEMENT_MS, () => standingsOf(parts, told).catch(() => undefined))
  return {
    audit: { add: auditInto(operations.audit, parts.log) },
    readAudit: page => operations.audit.read(page),
    teams: createTeamsAdmin(parts),
    cache: {
      tiers: () => tiersOf(parts),
      purge: id => purgeResult(id, results, operations.purges),
      purgeAll: () => purgeAllResults(results, operations.purges),
    },
    overview: {
      overview: remembered(OVERVIEW_MS, () => overviewOf(parts, told, standings)),
      async history(hours) {
        const minutes = await operations.history.read(Math.min(hours, HISTORY_HOURS))
        return minutes.map(({ durations, ...minute }) => ({ ...minute, ...quantilesOf(durations) }))
      },
      isDraining: () => parts.isDraining,
      everyMs: EVERY_MS,
    },
    now: parts.now,
  }
}

/** Asks once for all who ask within that time. */
function remembered<T>(forMs: number, ask: () => Promise<T>): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined
  return () => {
    const at = performance.now()
    if (!last || at - last.at >= forMs) last = { at, answer: ask() }
    return last.answer
  }
}

async function overviewOf(
  parts: Parts,
  { credits }: Told,
  standings: () => Promise<TeamStanding[] | undefined>,
): Promise<Overview> {
  const { accounts, operations, alerts, activity, now, startedAt } = parts
  const { day, month } = accounts.calendar.windows(now())
  const [gateway, teams, errors, conditions] = await Promise.all([
    gatewayFactsOf(parts),
    standings(),
    operations.history.errors().catch(() => [...activity.errors].reverse()),
    alerts.conditions().catch(() => []),
  ])
  return {
    ...{ at: now(), startedAt, day, month, gateway, alerts: conditions },
    credits: credits(),
    ...(teams && { teams }),
    expiringKeys: expiringKeys(parts),
    errors: errors.slice(0, ERRORS_SHOWN),
  }
}

async function gatewayFactsOf(parts: Parts): Promise<GatewayFacts> {
  const { client, turns, store, teams, results, accounts } = parts
  return {
    inFlight: client.inFlight,
    queue: turns.depth(),
    breaker: client.breaker,
    isStoreUp: store.isUp(),
    teamsFileProblems: teams.problems(),
    unsaved: { results: results.unsaved.size, bytes: results.unsaved.bytes, ledgerSteps: accounts.unsaved.size },
    cache: await tiersOf(parts),
  }
}

/** What is cached; the store's share is absent where it cannot be told. */
export async function tiersOf({ store, results }: Pick<Parts, 'store' | 'results'>) {
  const kept = await store.size().catch(() => undefined)
  const memory = { tier: 'memory' as const, bytes: results.memory.bytes, entries: results.memory.entries }
  return kept ? [memory, { tier: 'store' as const, ...kept }] : [memory]
}

/** Every team of the file, and those that have spent something this month. Rejects with `StoreError`. */
async function standingsOf({ accounts, teams, now }: Parts, { statement }: Told): Promise<TeamStanding[]> {
  const { day, month } = accounts.calendar.windows(now())
  const known = teams.teams(now())
  const [{ teams: spent }, budgets] = await Promise.all([statement(month), accounts.allowance.budgets(known)])
  const ids = [...new Set([...known.map(({ id }) => id), ...spent.map(({ team }) => team)])]
  return ids.map(id => {
    const team = known.find(one => one.id === id)
    const own = spent.find(one => one.team === id)
    const until = team?.override && now() < team.override.until ? team.override.until : undefined
    return {
      ...{ id, name: team?.name ?? id, disabled: team?.disabled ?? false, protected: team?.protected ?? false },
      budgets: budgets.filter(budget => budget.team === id),
      ...(until !== undefined && { overriddenUntil: until }),
      today: spendingOf(own?.days.find(one => one.day === day)),
      month: spendingOf(own?.totals),
    }
  })
}

function spendingOf(figures: Figures | undefined): Spending {
  if (!figures) return { requests: 0, paidCalls: 0, charged: 0, saved: 0, unknown: 0 }
  const { requests, paidCalls, charged, unknown, savedByCache, savedByCoalescing } = figures
  return { requests, paidCalls, charged, unknown, saved: savedByCache + savedByCoalescing }
}

function expiringKeys({ teams, now }: Parts): Overview['expiringKeys'] {
  return teams
    .keys()
    .flatMap(({ team, keys }) =>
      keys.flatMap(({ id, expires, revoked, note }) => {
        const expiresAt = expires === undefined ? undefined : endOfDate(expires)
        if (revoked || expiresAt === undefined) return []
        if (expiresAt > now() + EXPIRING_MS || expiresAt < now() - EXPIRED_MS) return []
        return [{ team: team.id, id, expiresAt, ...(note !== undefined && { note }) }]
      }),
    )
    .sort((one, other) => one.expiresAt - other.expiresAt)
}

function quantilesOf(durations: readonly number[]): { p50Ms?: number; p95Ms?: number } {
  const [p50Ms, p95Ms] = [quantile(durations, 0.5), quantile(durations, 0.95)]
  return { ...(p50Ms !== undefined && { p50Ms }), ...(p95Ms !== undefined && { p95Ms }) }
}
