import type { FastifyBaseLogger } from 'fastify'
import { Coalescer } from './cache/coalescer.js'
import { ResultCache } from './cache/result-cache.js'
import { SharedFlights } from './cache/shared-flights.js'
import type { Settings } from './config.js'
import { type Accounts, openAccounts } from './credits/accounts.js'
import { UploadBudget } from './http/upload-budget.js'
import { HeldImages } from './images/held-images.js'
import { createImageFetcher, type ImageFetcher } from './images/image-url.js'
import { Metrics } from './metrics.js'
import { FairQueue } from './schedule/fair-queue.js'
import type { Purchase } from './segment/ports.js'
import { createSegmindClient, type SegmindClient } from './segmind/client.js'
import type { Store } from './storage.js'
import { type OpenedStore, openStore } from './store/open-store.js'
import { type WatchedTeams, watchTeams } from './teams/watch.js'

export interface GatewayOptions {
  settings: Settings
  log: FastifyBaseLogger
  /** Segmind, or its stand-in. */
  upstream: { baseUrl: string; apiKey: string }
}

/** What is to be closed when the gateway stops, in reverse order of opening. */
export type Closers = (() => Promise<unknown> | unknown)[]

/** Everything a request can meet, built once and in order. */
export interface Parts extends GatewayOptions {
  metrics: Metrics
  opened: OpenedStore
  store: Store
  teams: WatchedTeams
  client: SegmindClient
  fetcher: ImageFetcher
  accounts: Accounts
  results: ResultCache
  images: HeldImages
  flights: Coalescer<Purchase>
  leases: SharedFlights
  turns: FairQueue
  uploads: UploadBudget
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
/** Bound of the paid answers that wait for a store that is down. */
const UNSAVED_RESULT_BYTES = 256 * 1024 ** 2
/** Clocks of replicas may differ, and the loop of a process may be late. */
const ORPHAN_MARGIN_MS = 30_000
/** How long Segmind keeps the record of a job. */
const JOB_RECORD_MS = 3_600_000

/** Builds every part once, in order; each that needs closing is put on `closers` as soon as it is open. */
export async function buildParts(options: GatewayOptions, closers: Closers): Promise<Parts> {
  const { settings, log } = options
  const metrics = new Metrics()
  const onFailure = createFailureLog(log, metrics)
  const opened = await openLoggedStore(options)
  closers.push(() => opened.store.close())
  closers.push(() => opened.spool.close())
  const teams = await watchLoggedTeams(options)
  closers.push(() => teams.stop())
  const outputs = createOutputFetcher()
  closers.push(() => outputs.close())
  const client = createClient(options, metrics, outputs)
  closers.push(() => client.close())
  const fetcher = createImageFetcher({
    enabled: settings.images.urls,
    hosts: settings.images.urlHosts ?? [],
    maxImageBytes: settings.images.maxBytes,
    timeoutMs: IMAGE_URL_TIMEOUT_MS,
  })
  closers.push(() => fetcher.close())
  const accounts = openBooks(options, opened, { client, metrics, onFailure })
  closers.push(() => closeAccounts(accounts, log))
  const parts: Parts = {
    ...options,
    metrics,
    opened,
    store: opened.store,
    teams,
    client,
    fetcher,
    accounts,
    leases: shareFlights(options, opened.store, { metrics, onFailure, isDraining: () => parts.isDraining }),
    ...buildCaches(options, opened.store, metrics, onFailure),
    isDraining: false,
  }
  closers.push(() => parts.leases.close())
  return parts
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

function createClient(
  { settings, upstream, log }: GatewayOptions,
  metrics: Metrics,
  outputs: ImageFetcher,
): SegmindClient {
  const { api, timeoutMs, maxConcurrency, retryServerErrors } = settings.segmind
  return createSegmindClient({
    ...upstream,
    api,
    timeoutMs,
    maxConcurrency,
    retryServerErrors,
    fetchOutput: async url => Buffer.concat((await outputs.fetchImage(url)).chunks),
    onAttempt: ({ status, code, durationMs }) =>
      metrics.upstreamAnswered(status === 200 && code !== 'ok' ? code : String(status ?? code), durationMs),
    onBreaker: breaker => log.warn({ breaker }, 'the breaker in front of Segmind has changed'),
  })
}

/** How old a reservation is that no process can have under way any more, milliseconds. */
function orphanAfterMs({ server, queue, segmind }: Settings): number {
  // Counted from the plan: it may follow another leader first, then poll that one's job; its own is submitted and polled, each in its own time.
  const jobsMs = 3 * segmind.timeoutMs + 2 * OUTPUT_TIMEOUT_MS
  return server.clientTimeoutMs + queue.timeoutMs + jobsMs + ORPHAN_MARGIN_MS
}

function openBooks(
  { settings, log }: GatewayOptions,
  { store, spool, isSpoolDurable }: OpenedStore,
  { client, metrics, onFailure }: { client: SegmindClient; metrics: Metrics; onFailure: OnFailure },
): Accounts {
  return openAccounts({
    store: store.ledger,
    isStoreUp: () => store.isUp(),
    spool,
    isSpoolDurable,
    orphanAfterMs: orphanAfterMs(settings),
    shareSeconds: settings.cache.ttlSeconds + settings.cache.staleSeconds,
    priceEstimate: settings.credits.priceEstimate,
    timeZone: settings.credits.timeZone,
    whenStoreIsDown: settings.credits.budgetFail,
    askBalance: async () => (await client.balance()).remaining,
    now: Date.now,
    onBooked: (team, outcome, cost) => metrics.booked(team, outcome, cost),
    onAnswered: (team, how, cost) => metrics.answered(team, how, cost),
    onAskFailure: error => log.warn({ err: error }, 'Segmind did not tell its balance'),
    onStoreFailure: onFailure,
    onStepLost: (step, error) => log.error({ step, err: error }, 'the store refuses a ledger step: it is lost'),
    onOrphan: ({ callId, team, requestId, resultId, jobId }, fate) => {
      metrics.orphanEnded(fate)
      log.warn({ callId, team, requestId, resultId, jobId, fate }, 'a call whose process is gone has been ended')
    },
  })
}

function shareFlights(
  { settings, log }: GatewayOptions,
  store: Store,
  { metrics, onFailure, isDraining }: { metrics: Metrics; onFailure: OnFailure; isDraining(): boolean },
): SharedFlights {
  return new SharedFlights({
    store: store.leases,
    ttlMs: orphanAfterMs(settings) + JOB_RECORD_MS,
    isDraining,
    onSeat: role => metrics.seated(role),
    onStoreFailure: onFailure,
    onTakenAway: name => log.warn({ resultId: name }, 'another process has taken over a purchase under way here'),
  })
}

function buildCaches({ settings, log }: GatewayOptions, store: Store, metrics: Metrics, onFailure: OnFailure) {
  return {
    results: new ResultCache({
      memoryBytes: settings.cache.memoryBytes,
      store: store.results,
      isStoreUp: () => store.isUp(),
      keepSeconds: settings.cache.ttlSeconds + settings.cache.staleSeconds,
      unsavedBytes: UNSAVED_RESULT_BYTES,
      onStoreFailure: (error, doing) => onFailure(error, `results: ${doing}`),
      onLost: (resultId, { body }, why) => {
        metrics.resultLost(why)
        log.error({ resultId, bytes: body.length, why }, 'a paid answer is lost to the store')
      },
    }),
    images: new HeldImages({
      store: store.images,
      ttlSeconds: settings.images.ttlSeconds,
      onStoreFailure: (error, doing) => onFailure(error, `images: ${doing}`),
    }),
    flights: new Coalescer<Purchase>(),
    turns: new FairQueue({
      maxConcurrent: settings.segmind.maxConcurrency,
      maxWaiting: settings.queue.max,
      timeoutMs: settings.queue.timeoutMs,
      now: () => performance.now(),
      onWaited: waitedMs => metrics.waitedForTurn(waitedMs),
    }),
    uploads: new UploadBudget(settings.upload.memoryBytes),
  }
}

async function closeAccounts(accounts: Accounts, log: FastifyBaseLogger): Promise<void> {
  const { kept, lost } = await accounts.close()
  if (kept > 0) log.warn({ steps: kept }, 'ledger steps the store did not take wait on disk for the next start')
  if (lost > 0) log.error({ steps: lost }, 'ledger steps the store did not take are lost')
}
