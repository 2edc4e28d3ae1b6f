import { collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import type { BudgetStanding, Burn, CreditStateName, SharedKeyState } from '../contracts/account.js'
import type { BalanceReading, LedgerState } from '../contracts/ledger.js'
import { type Nanocredits, toCredits } from '../contracts/nanocredits.js'
import type { CacheTier } from '../contracts/overview.js'
import type { HistoryState } from '../contracts/request-history.js'
import { counters, PREFIX, startTeamsAtZero } from './counters.js'

/** Buckets: cache hits take milliseconds, purchases seconds, cold starts minutes. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** Values that are read at scrape time. `undefined` omits the series: unknown is never 0. */
export interface Gauges {
  /** Team ids of the teams file. */
  teams(): string[]
  upstreamInFlight(): number
  queueDepth(): ReadonlyMap<string, number>
  cache(): Promise<CacheTier[]>
  storeUp(): boolean
  ledgerState(): LedgerState
  teamsFileOk(): boolean
  /** Open connections of callers. */
  connections(): { authenticated: number; anonymous: number }
  balance(): BalanceReading | undefined
  priceEstimate(): Nanocredits
  drift(): Nanocredits | undefined
  runwaySeconds(): number | undefined
  creditState(): CreditStateName | undefined
  /** Nanocredits per second, by window. */
  burn(): Burn
  budgets(): Promise<Pick<BudgetStanding, 'team' | 'window' | 'limit' | 'remaining'>[]>
  /** Result of the last use of the shared key. */
  sharedKey(): SharedKeyState | undefined
  unsavedSteps(): number
  unsavedResults(): { results: number; bytes: number }
  breakerOpen(): boolean
  historyState(): HistoryState
}

/**
 * The gateway's Prometheus metrics (docs/reference.md, Metrics). Only this file and `counters.ts`
 * use the metrics library. `app/observer.ts` updates the counters and histograms.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly counters = counters(this.#registry)
  readonly histograms = histograms(this.#registry)
  #teams: () => string[] = () => []

  /** Registers the gauges. Called once, when all parts exist. */
  observe(gauges: Gauges): void {
    this.#teams = gauges.teams
    registerGauges(this.#registry, gauges)
    collectDefaultMetrics({ register: this.#registry })
  }

  /** Returns the exposition text and its content type. */
  async expose(): Promise<{ contentType: string; text: string }> {
    startTeamsAtZero(this.counters, this.#teams())
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }
}

function histograms(register: Registry) {
  const histogram = (name: string, help: string, ...labelNames: string[]) =>
    new Histogram({ name: `${PREFIX}_${name}`, help, labelNames, buckets: SECONDS, registers: [register] })
  return {
    duration: histogram('request_duration_seconds', 'Duration of requests.', 'route', 'cache'),
    overhead: histogram('overhead_seconds', 'Duration of requests without the time spent waiting for Segmind.'),
    upstream: histogram('upstream_duration_seconds', 'Duration of requests to Segmind.'),
    queueWait: histogram('queue_wait_seconds', 'Time that purchases waited in the queue.'),
  }
}

const LEDGER_STATES = ['ok', 'lost', 'evictable'] as const
const STATES = ['normal', 'reserve', 'empty'] as const
const HISTORY_STATES = ['on', 'off', 'probing'] as const

type GaugeValue = [labels: Record<string, string>, value: number | undefined]

/** Creates makers of gauges that are read at scrape time. */
function gaugeMakers(register: Registry) {
  const gauge = (name: string, help: string, labelNames: string[], read: () => GaugeValue[] | Promise<GaugeValue[]>) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers: [register],
      async collect() {
        this.reset()
        if (labelNames.length === 0) this.remove()
        for (const [labels, value] of await read()) if (value !== undefined) this.set(labels, value)
      },
    })
  const single = (name: string, help: string, read: () => number | undefined) =>
    gauge(name, help, [], () => [[{}, read()]])
  return { gauge, single }
}

type Makers = ReturnType<typeof gaugeMakers>

function registerGauges(register: Registry, gauges: Gauges): void {
  const makers = gaugeMakers(register)
  registerOperation(makers, gauges)
  registerCredits(makers, gauges)
}

function registerOperation({ gauge, single }: Makers, gauges: Gauges): void {
  single(`${PREFIX}_upstream_in_flight`, 'Calls to Segmind in flight.', gauges.upstreamInFlight)
  gauge(`${PREFIX}_connections`, 'Open connections, by whether they brought an accepted key.', ['state'], () =>
    Object.entries(gauges.connections()).map(([state, count]) => [{ state }, count]),
  )
  single(`${PREFIX}_store_up`, '1 while the store is reachable.', () => Number(gauges.storeUp()))
  gauge(`${PREFIX}_ledger_state`, '1 for the current state of the ledger.', ['state'], () =>
    LEDGER_STATES.map(state => [{ state }, Number(state === gauges.ledgerState())]),
  )
  single(`${PREFIX}_teams_file_ok`, '1 while the teams file is valid.', () => Number(gauges.teamsFileOk()))
  single(`${PREFIX}_unsaved_ledger_steps`, 'Ledger steps that wait for the store.', gauges.unsavedSteps)
  single(`${PREFIX}_unsaved_results`, 'Paid results that wait for the store.', () => gauges.unsavedResults().results)
  single(
    `${PREFIX}_unsaved_result_bytes`,
    'Bytes of the paid results that wait for the store.',
    () => gauges.unsavedResults().bytes,
  )
  single(`${PREFIX}_breaker_open`, '1 while the circuit breaker is not closed.', () => Number(gauges.breakerOpen()))
  gauge(`${PREFIX}_queue_depth`, 'Purchases in the queue.', ['team'], () =>
    [...withEveryTeam(gauges.queueDepth(), gauges.teams())].map(([team, depth]) => [{ team }, depth]),
  )
  const cache = shareRead(gauges.cache)
  const cacheGauge = (what: 'bytes' | 'entries', help: string) =>
    gauge(`${PREFIX}_cache_${what}`, help, ['tier'], async () =>
      (await cache()).map(tier => [{ tier: tier.tier }, tier[what]]),
    )
  cacheGauge('bytes', 'Bytes of cached results.')
  cacheGauge('entries', 'Cached results.')
}

/** Shares one pending read among the gauges of a scrape, which are read concurrently. */
function shareRead<T>(read: () => Promise<T>): () => Promise<T> {
  let pending: Promise<T> | undefined
  return () => {
    pending ??= read().finally(() => {
      pending = undefined
    })
    return pending
  }
}

/** Adds 0 for teams that have no purchase in the queue. */
function withEveryTeam(depths: ReadonlyMap<string, number>, teams: string[]): Map<string, number> {
  return new Map([...teams.map(team => [team, 0] as const), ...depths])
}

function registerCredits({ gauge, single }: Makers, gauges: Gauges): void {
  const credits = (amount: Nanocredits | undefined) => (amount === undefined ? undefined : toCredits(amount))
  single('segmind_remaining_credits', 'Balance of the Segmind account.', () => credits(gauges.balance()?.remaining))
  single('segmind_remaining_credits_timestamp_seconds', 'Time of the balance reading.', () => {
    const at = gauges.balance()?.at
    return at === undefined ? undefined : at / 1000
  })
  single('segmind_price_estimate_credits', 'Expected cost of a call.', () => credits(gauges.priceEstimate()))
  single(
    'segmind_credit_drift_credits',
    'Credits that left the account without a booking, since the first balance.',
    () => credits(gauges.drift()),
  )
  single(
    'segmind_credit_runway_seconds',
    'Time until the balance is spent at the fastest known rate.',
    gauges.runwaySeconds,
  )
  gauge('segmind_credit_state', '1 for the current credit state.', ['state'], () => {
    const now = gauges.creditState()
    return now ? STATES.map(state => [{ state }, Number(state === now)]) : []
  })
  single(`${PREFIX}_shared_key_ok`, '1 if Segmind accepted the shared key at its last use.', () => {
    const state = gauges.sharedKey()
    return state && Number(state === 'accepted')
  })
  gauge(`${PREFIX}_request_history_state`, "1 for the current state of Segmind's request history.", ['state'], () =>
    HISTORY_STATES.map(state => [{ state }, Number(state === gauges.historyState())]),
  )
  gauge('segmind_credit_burn_credits_per_second', 'Credits spent per second, by window.', ['window'], () =>
    Object.entries(gauges.burn()).map(([window, rate]) => [{ window }, rate === undefined ? undefined : rate / 1e9]),
  )
  const budgets = shareRead(gauges.budgets)
  const budgetGauge = (what: 'limit' | 'remaining', help: string) =>
    gauge(`${PREFIX}_budget_${what}_credits`, help, ['team', 'window'], async () =>
      (await budgets()).map(budget => [{ team: budget.team, window: budget.window }, toCredits(budget[what])]),
    )
  budgetGauge('limit', 'Budget of a team.')
  budgetGauge('remaining', 'Remaining budget of a team.')
}
