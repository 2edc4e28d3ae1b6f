import { collectDefaultMetrics, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { counters, PREFIX, startTeamsAtZero } from './counters.js'
import { type Nanocredits, toCredits } from './nanocredits.js'

/** Cached answers take a millisecond, paid ones seconds, cold starts minutes. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** Values that are read when Prometheus asks; `undefined` leaves the series out: unknown is never 0. */
export interface Gauges {
  /** Ids of the teams file. */
  teams(): string[]
  upstreamInFlight(): number
  queueDepth(): ReadonlyMap<string, number>
  cache(): Promise<{ tier: 'memory' | 'store'; bytes: number; entries: number }[]>
  storeUp(): boolean
  teamsFileOk(): boolean
  balance(): { remaining: Nanocredits; at: number } | undefined
  priceEstimate(): Nanocredits
  drift(): Nanocredits | undefined
  runwaySeconds(): number | undefined
  creditState(): 'normal' | 'reserve' | 'empty' | undefined
  /** Nanocredits a second, by window. */
  burn(): Partial<Record<string, number>>
  budgets(): Promise<{ team: string; window: 'daily' | 'monthly'; limit: Nanocredits; remaining: Nanocredits }[]>
  /** What Segmind has last made of the shared key. */
  sharedKey(): 'accepted' | 'refused' | undefined
  unsavedSteps(): number
  unsavedResults(): { results: number; bytes: number }
  breakerOpen(): boolean
}

/** What happened to one HTTP request. Durations in milliseconds. */
export interface RequestFacts {
  route: string
  /** Empty where no team was recognised. */
  team: string
  status: number
  /** The error code of SPEC §6; absent on success. */
  error?: string
  /** Empty where no result was answered. */
  cache: string
  durationMs: number
  upstreamMs: number
  uploadBytes: number
  /** With a test key: what went wrong may be made up. */
  isTest?: boolean
}

/** The gateway's figures in Prometheus's terms (SPEC §10). Only this file and `counters.ts` know the metrics library. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #counters = counters(this.#registry)
  readonly #histograms = histograms(this.#registry)
  #teams: () => string[] = () => []

  /** Registers what is read at scrape time; once, when all parts are there. */
  observe(gauges: Gauges): void {
    this.#teams = gauges.teams
    registerGauges(this.#registry, gauges)
    collectDefaultMetrics({ register: this.#registry })
  }

  /** Exposition text and its content type. */
  async expose(): Promise<{ contentType: string; text: string }> {
    startTeamsAtZero(this.#counters, this.#teams())
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  requested(facts: RequestFacts): void {
    const { route, team, status, cache } = facts
    this.#counters.requests.inc({ route, team, code: String(status) })
    this.failed(facts)
    if (facts.uploadBytes > 0 && team) this.#counters.uploadBytes.inc({ team }, facts.uploadBytes)
    this.#histograms.duration.observe({ route, cache }, facts.durationMs / 1000)
    if (cache) this.#histograms.overhead.observe(Math.max(0, facts.durationMs - facts.upstreamMs) / 1000)
  }

  /** Counts the error of a request, or of a part of one, where it had one. */
  failed({ route, error, isTest }: Pick<RequestFacts, 'route' | 'error' | 'isTest'>): void {
    if (error && !isTest) this.#counters.errors.inc({ route, code: error })
  }

  /** A team got a result; `saved` is what it would have cost to buy it again. */
  answered(team: string, how: string, cost: Nanocredits): void {
    this.#counters.results.inc({ team, cache: how })
    if (how === 'hit' || how === 'stale') this.#counters.saved.inc({ team, how: 'cache' }, toCredits(cost))
    if (how === 'coalesced') this.#counters.saved.inc({ team, how: 'coalesced' }, toCredits(cost))
  }

  booked(team: string, outcome: 'charged' | 'unknown', cost: Nanocredits): void {
    const counter = outcome === 'charged' ? this.#counters.spent : this.#counters.unknown
    counter.inc({ team }, toCredits(cost))
  }

  /** One attempt at Segmind: its HTTP status, or what kept it from having one. */
  upstreamAnswered(code: string, durationMs: number): void {
    this.#counters.upstream.inc({ code })
    this.#histograms.upstream.observe(durationMs / 1000)
  }

  /** A request for a picture is sent once more. */
  sentAgain(why: 'unsent' | 'busy' | 'server error'): void {
    this.#counters.retries.inc({ why: why.replace(' ', '_') })
  }

  waitedForTurn(waitedMs: number): void {
    this.#histograms.queueWait.observe(waitedMs / 1000)
  }

  /** This process took a seat in a flight that is shared with others. */
  seated(role: 'leader' | 'follower' | 'takeover' | 'unguarded'): void {
    this.#counters.flights.inc({ role })
  }

  resultLost(why: 'no room' | 'refused'): void {
    this.#counters.lostResults.inc({ why: why.replace(' ', '_') })
  }

  orphanEnded(fate: string): void {
    this.#counters.orphans.inc({ fate })
  }

  storeFailed(doing: string): void {
    this.#counters.storeFailures.inc({ doing })
  }
}

function histograms(register: Registry) {
  const histogram = (name: string, help: string, ...labelNames: string[]) =>
    new Histogram({ name: `${PREFIX}_${name}`, help, labelNames, buckets: SECONDS, registers: [register] })
  return {
    duration: histogram('request_duration_seconds', 'Time to answer a request.', 'route', 'cache'),
    overhead: histogram('overhead_seconds', 'Time to answer, less the time spent waiting for Segmind.'),
    upstream: histogram('upstream_duration_seconds', 'Time one attempt at Segmind took.'),
    queueWait: histogram('queue_wait_seconds', 'Time a purchase waited for its turn at Segmind.'),
  }
}

const STATES = ['normal', 'reserve', 'empty'] as const

type Sample = [labels: Record<string, string>, value: number | undefined]

/** How a gauge is made: read when Prometheus asks. */
function gaugeMakers(register: Registry) {
  const gauge = (name: string, help: string, labelNames: string[], read: () => Sample[] | Promise<Sample[]>) =>
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
  single(`${PREFIX}_upstream_in_flight`, 'Calls at Segmind now.', gauges.upstreamInFlight)
  single(`${PREFIX}_store_up`, 'Whether the store answers.', () => Number(gauges.storeUp()))
  single(`${PREFIX}_teams_file_ok`, 'Whether the teams file was accepted when last read.', () =>
    Number(gauges.teamsFileOk()),
  )
  single(`${PREFIX}_unsaved_ledger_steps`, 'Ledger steps waiting for the store.', gauges.unsavedSteps)
  single(`${PREFIX}_unsaved_results`, 'Paid answers waiting for the store.', () => gauges.unsavedResults().results)
  single(`${PREFIX}_unsaved_result_bytes`, 'Their bytes.', () => gauges.unsavedResults().bytes)
  single(`${PREFIX}_breaker_open`, 'Whether Segmind is not called because it keeps failing.', () =>
    Number(gauges.breakerOpen()),
  )
  gauge(`${PREFIX}_queue_depth`, 'Purchases waiting for a turn.', ['team'], () =>
    [...withEveryTeam(gauges.queueDepth(), gauges.teams())].map(([team, depth]) => [{ team }, depth]),
  )
  const cache = oneAtATime(gauges.cache)
  const cacheGauge = (what: 'bytes' | 'entries', help: string) =>
    gauge(`${PREFIX}_cache_${what}`, help, ['tier'], async () =>
      (await cache()).map(tier => [{ tier: tier.tier }, tier[what]]),
    )
  cacheGauge('bytes', 'Bytes of cached results.')
  cacheGauge('entries', 'Cached results.')
}

/** Gauges are read side by side: what several of them need is asked for once. */
function oneAtATime<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | undefined
  return () => {
    asked ??= ask().finally(() => {
      asked = undefined
    })
    return asked
  }
}

/** Of a team that nothing is known to wait for, nothing waits. */
function withEveryTeam(depths: ReadonlyMap<string, number>, teams: string[]): Map<string, number> {
  return new Map([...teams.map(team => [team, 0] as const), ...depths])
}

function registerCredits({ gauge, single }: Makers, gauges: Gauges): void {
  const credits = (amount: Nanocredits | undefined) => (amount === undefined ? undefined : toCredits(amount))
  single('segmind_remaining_credits', 'Balance of the account.', () => credits(gauges.balance()?.remaining))
  single('segmind_remaining_credits_timestamp_seconds', 'When Segmind said so.', () => {
    const at = gauges.balance()?.at
    return at === undefined ? undefined : at / 1000
  })
  single('segmind_price_estimate_credits', 'What a call is expected to cost.', () => credits(gauges.priceEstimate()))
  single(
    'segmind_credit_drift_credits',
    'Credits that left the account and nobody booked, since the first balance.',
    () => credits(gauges.drift()),
  )
  single('segmind_credit_runway_seconds', 'How long the balance lasts at the fastest known rate.', gauges.runwaySeconds)
  gauge('segmind_credit_state', 'Whether the credits are in this state.', ['state'], () => {
    const now = gauges.creditState()
    return now ? STATES.map(state => [{ state }, Number(state === now)]) : []
  })
  single(`${PREFIX}_shared_key_ok`, 'Whether Segmind took the shared key when it was last used.', () => {
    const state = gauges.sharedKey()
    return state && Number(state === 'accepted')
  })
  gauge('segmind_credit_burn_credits_per_second', 'How fast credits go, over a window.', ['window'], () =>
    Object.entries(gauges.burn()).map(([window, rate]) => [{ window }, rate === undefined ? undefined : rate / 1e9]),
  )
  const budgets = oneAtATime(gauges.budgets)
  const budgetGauge = (what: 'limit' | 'remaining', help: string) =>
    gauge(`${PREFIX}_budget_${what}_credits`, help, ['team', 'window'], async () =>
      (await budgets()).map(budget => [{ team: budget.team, window: budget.window }, toCredits(budget[what])]),
    )
  budgetGauge('limit', 'The budget of a team.')
  budgetGauge('remaining', 'What a team may still book.')
}
