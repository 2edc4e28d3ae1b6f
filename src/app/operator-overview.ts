import type { AccountStatus } from '../contracts/account.js'
import { defined } from '../contracts/defined.js'
import type { CacheTier, GatewayStatus, Overview, TeamSpending, TeamStanding } from '../contracts/overview.js'
import type { Figures, Statement } from '../contracts/statements.js'
import type { OverviewRouteParts } from '../http/admin/overview.js'
import { HISTORY_HOURS } from '../operations/history.js'
import { quantile } from '../operations/minute.js'
import { endOfDate } from '../teams/key-dates.js'
import type { GatewayParts } from './build.js'

/** Reports that the overview includes and that other routes serve as well. */
export interface SharedReports {
  credits(): AccountStatus
  /** Rejects with `StoreError`. */
  statement(month: string): Promise<Statement>
}

/** Interval of the event stream; one overview serves all streams for `OVERVIEW_MS`. */
const EVERY_MS = 2_000
const OVERVIEW_MS = 1_000
/** Reading a month of all teams is expensive, so one reading serves this long. */
const STATEMENT_MS = 5_000
/** A key is listed when it expires within this time, or expired at most `EXPIRED_MS` ago. */
const EXPIRING_MS = 30 * 86_400_000
const EXPIRED_MS = 7 * 86_400_000
const ERRORS_SHOWN = 50

/** Builds the overview and the history that operators see. */
export function createOverview(parts: GatewayParts, reports: SharedReports): OverviewRouteParts {
  const standings = memoized(STATEMENT_MS, () => teamStandings(parts, reports).catch(() => undefined))
  return {
    overview: memoized(OVERVIEW_MS, () => overviewOf(parts, reports, standings)),
    async history(hours) {
      const minutes = await parts.history.read(Math.min(hours, HISTORY_HOURS))
      return minutes.map(({ durations, ...minute }) => ({
        ...minute,
        ...defined({ p50Ms: quantile(durations, 0.5), p95Ms: quantile(durations, 0.95) }),
      }))
    },
    isDraining: () => parts.lifecycle.isDraining,
    everyMs: EVERY_MS,
  }
}

/** Shares one answer between all calls of the next `forMs` milliseconds. */
function memoized<T>(forMs: number, compute: () => Promise<T>): () => Promise<T> {
  let last: { at: number; answer: Promise<T> } | undefined
  return () => {
    const at = performance.now()
    if (!last || at - last.at >= forMs) last = { at, answer: compute() }
    return last.answer
  }
}

async function overviewOf(
  parts: GatewayParts,
  { credits }: SharedReports,
  standings: () => Promise<TeamStanding[] | undefined>,
): Promise<Overview> {
  const { accounts, history, alerts, activity, now, lifecycle } = parts
  const { day, month } = accounts.calendar.windows(now())
  const [gateway, teams, errors, conditions] = await Promise.all([
    gatewayStatus(parts),
    standings(),
    history.errors().catch(() => [...activity.errors].reverse()),
    alerts.conditions().catch(() => []),
  ])
  return {
    at: now(),
    startedAt: lifecycle.startedAt,
    day,
    month,
    gateway,
    alerts: conditions,
    credits: credits(),
    ...defined({ teams }),
    expiringKeys: expiringKeys(parts),
    errors: errors.slice(0, ERRORS_SHOWN),
  }
}

async function gatewayStatus(parts: GatewayParts): Promise<GatewayStatus> {
  const { client, slots, store, teams, results, accounts } = parts
  return {
    inFlight: client.inFlight,
    queue: slots.depth(),
    breaker: client.breaker,
    isStoreUp: store.isUp(),
    teamsFileProblems: teams.problems(),
    unsaved: { results: results.unsaved.size, bytes: results.unsaved.bytes, ledgerSteps: accounts.unsaved.size },
    cache: await cacheTiers(parts),
  }
}

/** Sizes of the cache tiers. The store's tier is absent where the store cannot tell its size. */
export async function cacheTiers({ store, results }: Pick<GatewayParts, 'store' | 'results'>): Promise<CacheTier[]> {
  const stored = await store.size().catch(() => undefined)
  const memory: CacheTier = { tier: 'memory', bytes: results.memory.bytes, entries: results.memory.entries }
  return stored ? [memory, { tier: 'store', ...stored }] : [memory]
}

/**
 * Lists every team of the teams file and every team with charges this month. Rejects with
 * `StoreError`.
 */
async function teamStandings(
  { accounts, teams, now }: GatewayParts,
  { statement }: SharedReports,
): Promise<TeamStanding[]> {
  const { day, month } = accounts.calendar.windows(now())
  const known = teams.teams(now())
  const [{ teams: spent }, budgets] = await Promise.all([statement(month), accounts.allowance.budgets(known)])
  const ids = [...new Set([...known.map(({ id }) => id), ...spent.map(({ team }) => team)])]
  return ids.map(id => {
    const team = known.find(each => each.id === id)
    const own = spent.find(each => each.team === id)
    const overriddenUntil = team?.override && now() < team.override.until ? team.override.until : undefined
    return {
      id,
      name: team?.name ?? id,
      disabled: team?.disabled ?? false,
      protected: team?.protected ?? false,
      budgets: budgets.filter(budget => budget.team === id),
      ...defined({ overriddenUntil }),
      today: spendingOf(own?.days.find(each => each.day === day)),
      month: spendingOf(own?.totals),
    }
  })
}

function spendingOf(figures: Figures | undefined): TeamSpending {
  if (!figures) return { requests: 0, paidCalls: 0, charged: 0, saved: 0, unknown: 0 }
  const { requests, paidCalls, charged, unknown, savedByCache, savedByCoalescing } = figures
  return { requests, paidCalls, charged, unknown, saved: savedByCache + savedByCoalescing }
}

function expiringKeys({ teams, now }: GatewayParts): Overview['expiringKeys'] {
  return teams
    .keys()
    .flatMap(({ team, keys }) =>
      keys.flatMap(({ id, expires, revoked, note }) => {
        const expiresAt = expires === undefined ? undefined : endOfDate(expires)
        if (revoked || expiresAt === undefined) return []
        if (expiresAt > now() + EXPIRING_MS || expiresAt < now() - EXPIRED_MS) return []
        return [{ team: team.id, id, expiresAt, ...defined({ note }) }]
      }),
    )
    .sort((one, other) => one.expiresAt - other.expiresAt)
}
