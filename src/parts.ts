import type { FastifyBaseLogger } from 'fastify'
import type { Alerts } from './alerts/start-alerts.js'
import { buildCaching } from './caching.js'
import type { Settings } from './config.js'
import type { Accounts } from './credits/accounts.js'
import type { Finished, FinishedStory } from './http/facts.js'
import { createImageFetcher, type ImageFetcher } from './images/image-url.js'
import { Metrics } from './metrics.js'
import { closeAccounts, type MoneyParts, openMoney, openMoneyAlerts, orphanAfterMs } from './money.js'
import { type Operations, openOperations } from './operating.js'
import { Activity } from './operations/activity.js'
import { createSegmindClient, type SegmindClient } from './segmind/client.js'
import { SharedKey } from './segmind/shared-key.js'
import type { Store } from './storage.js'
import { type OpenedStore, openStore } from './store/open-store.js'
import { type WatchedTeams, watchTeams } from './teams/watch.js'
import { createTestLane } from './test-lane.js'

export interface GatewayOptions {
  settings: Settings
  log: FastifyBaseLogger
  /** Segmind, or its stand-in. */
  upstream: { baseUrl: string; apiKey: string }
  /** Where traces go; absent without `OTEL_…`. */
  tracing?: RequestTracing | undefined
  /** Milliseconds since 1970; for tests. */
  now?: () => number
}

/** Told of every request that is over. Never throws. */
export interface RequestTracing {
  finished(finished: Finished, story?: FinishedStory): void
}

/** What is to be closed when the gateway stops, in reverse order of opening. */
export type Closers = (() => Promise<unknown> | unknown)[]

/** Everything a request can meet, built once and in order. */
export interface Parts extends GatewayOptions, ReturnType<typeof buildCaching> {
  now(): number
  metrics: Metrics
  opened: OpenedStore
  store: Store
  teams: WatchedTeams
  client: SegmindClient
  sharedKey: SharedKey
  fetcher: ImageFetcher
  accounts: Accounts
  activity: Activity
  alerts: Alerts
  operations: Operations
  /** Milliseconds since 1970. */
  startedAt: number
  testLane: ReturnType<typeof createTestLane>
  isDraining: boolean
}

/** Told of every step the store did not do. */
type OnFailure = (error: unknown, doing: string) => void

const SAY_AGAIN_MS = 60_000

/** Counts every failure of the store, and says the first of each kind aloud, then one a minute with how many there were. */
function createFailureLog(log: FastifyBaseLogger, metrics: Metrics): OnFailure {
  const said = new Map<string, { at: number; since: number }>()
  return (error, doing) => {
    metrics.storeFailed(doing)
    const last = said.get(doing) ?? { at: Number.NEGATIVE_INFINITY, since: 0 }
    const failures = last.since + 1
    const isDue = performance.now() - last.at >= SAY_AGAIN_MS
    said.set(doing, isDue ? { at: performance.now(), since: 0 } : { at: last.at, since: failures })
    if (isDue) log.warn({ err: error, doing, failures }, 'the store did not do it')
  }
}

const IMAGE_URL_TIMEOUT_MS = 15_000
/** Largest picture that is taken from Segmind, and how long fetching one may take. */
const OUTPUT_BYTES = 64 * 1024 ** 2
const OUTPUT_TIMEOUT_MS = 60_000

/** Builds every part once, in order; each that needs closing is put on `closers` as soon as it is open. */
export async function buildParts(options: GatewayOptions, closers: Closers): Promise<Parts> {
  const { settings, log, now = Date.now } = options
  const metrics = new Metrics()
  const activity = new Activity({ now })
  const onFailure = createFailureLog(log, metrics)
  const opened = await openLoggedStore(options)
  closers.push(() => opened.store.close())
  closers.push(() => opened.spool.close())
  const teams = await watchLoggedTeams(options)
  closers.push(() => teams.stop())
  let onNews = () => {}
  const sharedKey = new SharedKey(() => onNews())
  const { client, fetcher } = openUpstream(options, closers, {
    onTold: told => {
      metrics.upstreamAnswered(told.label, told.durationMs)
      sharedKey.called(told.code)
      accounts.attempted({ code: told.code, sentAt: now() - told.durationMs })
    },
    onAgain: why => metrics.sentAgain(why),
  })
  const { accounts, alerts } = openBooks(
    { settings, log, opened, client, sharedKey, metrics, activity, onFailure, now, teams },
    closers,
  )
  onNews = () => void alerts.look()
  const caching = buildCaching({
    ...{ settings, log, store: opened.store, metrics, calendar: accounts.calendar, now, onFailure },
    isDraining: () => parts.isDraining,
    orphanAfterMs: orphanAfterMs(settings, OUTPUT_TIMEOUT_MS),
  })
  const parts: Parts = {
    ...options,
    ...{ now, metrics, opened, store: opened.store, teams },
    client,
    sharedKey,
    fetcher,
    accounts,
    ...caching,
    activity,
    alerts,
    startedAt: now(),
    operations: openOperations({
      ...{ log, store: opened.store, activity, now, onFailure, accounts, client },
      ...{ results: caching.results, turns: caching.turns },
    }),
    testLane: createTestLane({ settings, maskForms: caching.maskForms, now }),
    isDraining: false,
  }
  closeAfter(parts, closers)
  return parts
}

/** The books, and the alerts about what is in them. */
function openBooks(given: Omit<MoneyParts, 'onNews' | 'outputTimeoutMs'> & Pick<Parts, 'teams'>, closers: Closers) {
  const onNews = () => void alerts.look()
  const accounts = openMoney({ ...given, outputTimeoutMs: OUTPUT_TIMEOUT_MS, onNews })
  closers.push(() => closeAccounts(accounts, given.log))
  const alerts = openMoneyAlerts({ ...given, accounts })
  closers.push(() => alerts.close())
  return { accounts, alerts }
}

/** What ends once requests have ended, in reverse order. */
function closeAfter(parts: Parts, closers: Closers): void {
  closers.push(() => parts.operations.close())
  closers.push(() => parts.leases.close())
  closers.push(() => parts.explanations.idle())
  closers.push(() => parts.jobs.idle())
  closers.push(() => parts.testLane.close())
}

/** Segmind, and where pictures come from that are named by an address. */
function openUpstream(options: GatewayOptions, closers: Closers, news: UpstreamNews) {
  const { images } = options.settings
  const outputs = createOutputFetcher()
  closers.push(() => outputs.close())
  const client = createClient(options, outputs, news)
  closers.push(() => client.close())
  const fetcher = createImageFetcher({
    enabled: images.urls,
    hosts: images.urlHosts ?? [],
    maxImageBytes: images.maxBytes,
    timeoutMs: IMAGE_URL_TIMEOUT_MS,
  })
  closers.push(() => fetcher.close())
  return { client, fetcher }
}

function openLoggedStore({ settings, log }: GatewayOptions): Promise<OpenedStore> {
  return openStore(settings.store, {
    onProblem: (error, what) => log.warn({ err: error, what }, 'the store has a problem'),
    onUp: () => log.info('the store answers'),
    onDown: error =>
      log.error({ err: error }, 'the store does not answer: cached reads and unbudgeted purchases go on without it'),
  })
}

function watchLoggedTeams({ settings, log }: GatewayOptions): Promise<WatchedTeams> {
  return watchTeams({
    file: settings.teams.file,
    onLoaded: teams => log.info({ teams: teams.length }, 'teams file loaded'),
    onRefused: problems => log.error({ problems }, 'teams file refused: the teams of before stay'),
  })
}

/** Pictures of jobs lie at public addresses that Segmind names: fetched like any address that somebody else has chosen. */
function createOutputFetcher(): ImageFetcher {
  return createImageFetcher({ enabled: true, hosts: [], maxImageBytes: OUTPUT_BYTES, timeoutMs: OUTPUT_TIMEOUT_MS })
}

/** One attempt at Segmind: its error code or `ok`, what it is counted as, and how long it took. */
interface Told {
  code: string
  label: string
  durationMs: number
}

/** Who is told what happens at Segmind. */
interface UpstreamNews {
  onTold(told: Told): void
  onAgain(why: 'unsent' | 'busy' | 'server error'): void
}

function createClient(
  { settings, upstream, log }: GatewayOptions,
  outputs: ImageFetcher,
  { onTold, onAgain }: UpstreamNews,
): SegmindClient {
  const { api, timeoutMs, maxConcurrency, retryServerErrors } = settings.segmind
  return createSegmindClient({
    ...upstream,
    api,
    timeoutMs,
    maxConcurrency,
    retryServerErrors,
    fetchOutput: async url => Buffer.concat((await outputs.fetchImage(url)).chunks),
    onAttempt({ status, code, durationMs }) {
      const label = status === 200 && code !== 'ok' ? code : String(status ?? code)
      onTold({ code, label, durationMs })
    },
    onAgain,
    onBreaker: breaker => log.warn({ breaker }, 'the breaker in front of Segmind has changed'),
  })
}
