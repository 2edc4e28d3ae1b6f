import type { FastifyBaseLogger } from 'fastify'
import { Coalescer } from './cache/coalescer.js'
import { ResultCache } from './cache/result-cache.js'
import type { Settings } from './config.js'
import { type Accounts, openAccounts } from './credits/accounts.js'
import { UploadBudget } from './http/upload-budget.js'
import { HeldImages } from './images/held-images.js'
import { createImageFetcher, type ImageFetcher } from './images/image-url.js'
import { Metrics } from './metrics.js'
import { FairQueue } from './schedule/fair-queue.js'
import type { Purchase } from './segment/acceptance.js'
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

/** Builds every part once, in order; each that needs closing is put on `closers` as soon as it is open. */
export async function buildParts(options: GatewayOptions, closers: Closers): Promise<Parts> {
  const { settings, log } = options
  const metrics = new Metrics()
  const onFailure = createFailureLog(log, metrics)
  const opened = await openLoggedStore(options)
  closers.push(() => opened.store.close())
  const teams = await watchLoggedTeams(options)
  closers.push(() => teams.stop())
  const client = createClient(options, metrics)
  closers.push(() => client.close())
  const fetcher = createImageFetcher({
    enabled: settings.images.urls,
    hosts: settings.images.urlHosts ?? [],
    maxImageBytes: settings.images.maxBytes,
    timeoutMs: IMAGE_URL_TIMEOUT_MS,
  })
  closers.push(() => fetcher.close())
  const accounts = openBooks(options, opened.store, client, metrics, onFailure)
  closers.push(() => closeAccounts(accounts, log))
  const { store } = opened
  return {
    ...options,
    metrics,
    opened,
    store,
    teams,
    client,
    fetcher,
    accounts,
    ...buildCaches(options, store, metrics, onFailure),
    isDraining: false,
  }
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

function createClient({ settings, upstream }: GatewayOptions, metrics: Metrics): SegmindClient {
  return createSegmindClient({
    ...upstream,
    timeoutMs: settings.segmind.timeoutMs,
    maxConcurrency: settings.segmind.maxConcurrency,
    onAttempt: ({ status, code, durationMs }) =>
      metrics.upstreamAnswered(status === 200 && code !== 'ok' ? code : String(status ?? code), durationMs),
  })
}

function openBooks(
  { settings, log }: GatewayOptions,
  store: Store,
  client: SegmindClient,
  metrics: Metrics,
  onFailure: OnFailure,
): Accounts {
  return openAccounts({
    store: store.ledger,
    isStoreUp: () => store.isUp(),
    priceEstimate: settings.credits.priceEstimate,
    timeZone: settings.credits.timeZone,
    whenStoreIsDown: settings.credits.budgetFail,
    askBalance: async () => (await client.balance()).remaining,
    now: Date.now,
    onBooked: (team, outcome, cost) => metrics.booked(team, outcome, cost),
    onAnswered: (team, how, cost) => metrics.answered(team, how, cost),
    onAskFailure: error => log.warn({ err: error }, 'Segmind did not tell its balance'),
    onStoreFailure: onFailure,
  })
}

function buildCaches({ settings }: GatewayOptions, store: Store, metrics: Metrics, onFailure: OnFailure) {
  return {
    results: new ResultCache({
      memoryBytes: settings.cache.memoryBytes,
      store: store.results,
      keepSeconds: settings.cache.ttlSeconds + settings.cache.staleSeconds,
      onStoreFailure: (error, doing) => onFailure(error, `results: ${doing}`),
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
  const lost = await accounts.close()
  if (lost > 0) log.error({ lost }, 'ledger steps the store did not take are lost')
}
