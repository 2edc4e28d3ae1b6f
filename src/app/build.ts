import { EventEmitter } from 'node:events'
import type { FastifyBaseLogger } from 'fastify'
import { startAlerts } from '../alerts/start-alerts.js'
import { Coalescer } from '../cache/coalescer.js'
import { PurgeLog } from '../cache/purge-log.js'
import { ResultCache } from '../cache/result-cache.js'
import { SharedFlights } from '../cache/shared-flights.js'
import type { Settings } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import type { FinishedRequest } from '../contracts/records.js'
import type { Result } from '../contracts/types.js'
import { openAccounts } from '../credits/accounts.js'
import { openWholeness } from '../credits/wholeness/wholeness.js'
import { TransferMemory } from '../http/receive/transfer-memory.js'
import { Connections } from '../http/server/connections.js'
import { trustedProxies } from '../http/server/trusted-proxies.js'
import type { Site } from '../http/site/site.js'
import { HeldImages } from '../images/held-images.js'
import { createImageFetcher } from '../images/image-url.js'
import { KnownBodyStore } from '../images/known-bodies.js'
import { createMaskForms } from '../images/mask-forms.js'
import { Activity } from '../operations/activity.js'
import { AuditLog } from '../operations/audit.js'
import { ActivityHistory } from '../operations/history.js'
import { ExplanationLog } from '../requests/explanations.js'
import { SubmittedJobs } from '../requests/submitted-jobs.js'
import type { Segmenter } from '../sandbox/segmenter.js'
import { Schedule } from '../schedule/schedule.js'
import type { FlightLeader, Purchase } from '../segment/ports.js'
import type { Story } from '../segment/story.js'
import { createSegmindClient } from '../segmind/client.js'
import { openStore, placeOf } from '../store/open-store.js'
import { createMemorySchedule } from '../store/schedule/memory-schedule.js'
import { watchTeams } from '../teams/watch.js'
import { Metrics } from '../telemetry/metrics.js'
import { createAlertFacts } from './alert-facts.js'
import { connectionLimits } from './connection-limits.js'
import type { GatewayEvents } from './events.js'
import { GatewayObserver } from './observer.js'
import { createTestMode } from './test-mode.js'

export interface GatewayOptions {
  settings: Settings
  log: FastifyBaseLogger
  /** Segmind, or the sandbox in its place. */
  upstream: { baseUrl: string; apiKey: string }
  /** Absent unless tracing is configured (`OTEL_…`). */
  tracing?: RequestTracing | undefined
  /** Segments the photos of test keys. Default: the sandbox's segmenter, in a worker thread. */
  segmenter?: Segmenter | undefined
  /** Files of the public pages. Default: read from the installed package. */
  site?: Site | undefined
  /** Opens the store. Default: as the settings say. */
  openStore?: typeof openStore
  now?: Clock
}

/** Exports traces of finished requests. Never throws. */
interface RequestTracing {
  finished(request: FinishedRequest, story?: Story): void
}

/** Closes what was opened; run in reverse order when the gateway stops. */
export type Closers = (() => Promise<unknown> | unknown)[]

const MIB = 1024 ** 2
const IMAGE_URL_TIMEOUT_MS = 15_000
/** Bounds of fetching one picture that a job left at an address of Segmind's choice. */
const OUTPUT_BYTES = 64 * MIB
const OUTPUT_TIMEOUT_MS = 60_000
/** Bound of the paid results that wait for the store. */
const UNSAVED_RESULT_BYTES = 256 * MIB
/** Segmind keeps the record of a job for about an hour. */
const JOB_RECORD_MS = 3_600_000
/** Covers clock differences between replicas and a late event loop. */
const ORPHAN_MARGIN_MS = 30_000

/** Builds every part once, in order. Pushes each open part that needs closing on `closers`. */
export async function buildGateway(options: GatewayOptions, closers: Closers) {
  const base = await buildBase(options)
  const storage = await openStorage(options.openStore ?? openStore, base, closers)
  const upstream = openUpstream(options, base, closers)
  const credits = openCredits({ ...base, ...storage, ...upstream }, closers)
  const pipeline = buildPipeline({ ...base, ...storage, ...credits })
  const operations = openOperations({ ...base, ...storage, ...upstream, ...credits, ...pipeline }, closers)
  const testMode = createTestMode({ ...base, maskForms: pipeline.maskForms, segmenter: options.segmenter })
  const { tracing } = options
  // After the explanations, so that an exporter that throws does not cost a request its
  // explanation.
  if (tracing) base.events.on('requestFinished', (request, story) => tracing.finished(request, story))
  // Closed first: what ended requests have left running still needs the parts above.
  closers.push(() => pipeline.leases.close())
  closers.push(() => pipeline.slots.close())
  closers.push(() => pipeline.explanations.idle())
  closers.push(() => pipeline.jobs.idle())
  closers.push(() => testMode.close())
  return { ...base, ...storage, ...upstream, ...credits, ...pipeline, ...operations, testMode }
}

/** All parts of a gateway. */
export type GatewayParts = Awaited<ReturnType<typeof buildGateway>>

type Base = Awaited<ReturnType<typeof buildBase>>
type Storage = Awaited<ReturnType<typeof openStorage>>
type UpstreamParts = ReturnType<typeof openUpstream>
type Credits = ReturnType<typeof openCredits>
type Pipeline = ReturnType<typeof buildPipeline>

async function buildBase({ settings, log, tracing, now = Date.now }: GatewayOptions) {
  const events: GatewayEvents = new EventEmitter()
  const metrics = new Metrics()
  const activity = new Activity()
  const observer = new GatewayObserver({ log, metrics, activity, events, now })
  const lifecycle = { startedAt: now(), isLeaving: false, isDraining: false }
  const isTrustedProxy = trustedProxies(settings.server.trustProxy)
  const { isLowered, ...limits } = await connectionLimits(settings.server)
  if (isLowered) log.warn(limits, 'MAX_CONNECTIONS exceeds the limit on open files and was lowered')
  const connections = new Connections({ ...limits, isTrusted: address => isTrustedProxy(address, 0) })
  const isTraced = tracing !== undefined
  return { settings, log, now, events, metrics, activity, observer, lifecycle, isTrustedProxy, connections, isTraced }
}

/** The parts that follow take `now` from the store, so that replicas agree on shared times. */
async function openStorage(open: typeof openStore, { settings, observer, now }: Base, closers: Closers) {
  const events = {
    onProblem: (error: unknown, what: string) => observer.storeProblem(error, what),
    onUp: () => observer.storeUp(),
    onDown: (error: unknown) => observer.storeDown(error),
  }
  const opened = await open(settings.store, events, now)
  closers.push(() => opened.store.close())
  closers.push(() => opened.spool.close())
  const wholeness = await openWholeness({ ...opened, ...placeOf(settings.store), ...settings.credits, observer })
  closers.push(() => wholeness.close())
  const teams = await watchTeams({
    file: settings.teams.file,
    onLoaded: loaded => observer.teamsFileLoaded(loaded),
    onRefused: problems => observer.teamsFileRefused(problems),
  })
  closers.push(() => teams.stop())
  return { ...opened, wholeness, teams }
}

function openUpstream({ upstream }: GatewayOptions, { settings, observer }: Base, closers: Closers) {
  const { images, segmind } = settings
  // Output addresses come from Segmind, so they pass the same guard as those from callers.
  const outputs = createImageFetcher({
    enabled: true,
    hosts: [],
    maxImageBytes: OUTPUT_BYTES,
    timeoutMs: OUTPUT_TIMEOUT_MS,
  })
  closers.push(() => outputs.close())
  const client = createSegmindClient({
    baseUrl: upstream.baseUrl,
    apiKey: upstream.apiKey,
    api: segmind.api,
    timeoutMs: segmind.timeoutMs,
    maxConcurrency: segmind.maxConcurrency,
    retryServerErrors: segmind.retryServerErrors,
    fetchOutput: async url => Buffer.concat((await outputs.fetchImage(url)).chunks),
    observer,
  })
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

function openCredits(parts: Base & Storage & UpstreamParts, closers: Closers) {
  const { settings, store, wholeness, spool, isSpoolDurable, client, teams, observer, events, now } = parts
  const { credits } = settings
  const accounts = openAccounts({
    store: wholeness.ledger,
    ledgerState: () => wholeness.state,
    records: store.records,
    spool,
    isSpoolDurable,
    isStoreUp: () => store.isUp(),
    priceEstimate: credits.priceEstimate,
    reserve: credits.reserve,
    timeZone: credits.timeZone,
    whenStoreIsDown: credits.budgetFail,
    shareSeconds: keptSeconds(settings),
    orphanAfterMs: orphanAfterMs(settings),
    requestBalance: () => client.balance(),
    observer,
    now,
  })
  closers.push(async () => observer.ledgerStepsLeft(await accounts.close()))
  events.on('upstreamAttempted', attempt => accounts.recordAttempt(attempt))
  const alerts = startAlerts(settings.alerts, {
    facts: createAlertFacts({ accounts, wholeness, teams, client, now }),
    records: store.records,
    timeZone: credits.timeZone,
    observer,
    now,
  })
  closers.push(() => alerts.close())
  events.on('accountChanged', () => void alerts.check())
  return { accounts, alerts }
}

/** Builds the parts between an upload and Segmind. */
function buildPipeline({ settings, store, accounts, lifecycle, observer, events, now }: Base & Storage & Credits) {
  const { records } = store
  const results = new ResultCache({
    memoryBytes: settings.cache.memoryBytes,
    store: store.results,
    isStoreUp: () => store.isUp(),
    keepSeconds: keptSeconds(settings),
    unsavedBytes: UNSAVED_RESULT_BYTES,
    observer,
  })
  const leases = new SharedFlights({
    store: store.leases,
    ttlMs: orphanAfterMs(settings) + JOB_RECORD_MS,
    isDraining: () => lifecycle.isDraining,
    observer,
  })
  const slots = new Schedule({
    shared: store.schedule,
    local: createMemorySchedule(now),
    limits: {
      slots: settings.segmind.maxConcurrency,
      maxWaiting: settings.queue.max,
      perMinute: settings.segmind.requestsPerMinute,
    },
    timeoutMs: settings.queue.timeoutMs,
    now: performance.now.bind(performance),
    observer,
  })
  const findCall = (callId: string, at: number) => store.ledger.entry(accounts.calendar.windows(at).day, callId)
  const explanations = new ExplanationLog({ store: store.requests, findCall, now, observer })
  events.on('requestFinished', (request, story) => story && explanations.record(request, story))
  return {
    results,
    leases,
    slots,
    explanations,
    images: new HeldImages({ store: store.images, ttlSeconds: settings.images.ttlSeconds, now, observer }),
    bodies: new KnownBodyStore({ store: store.images, ttlSeconds: settings.cache.ttlSeconds, observer }),
    jobs: new SubmittedJobs({ records, now, observer }),
    flights: new Coalescer<Purchase, FlightLeader>(),
    shaping: new Coalescer<Result>(),
    maskForms: createMaskForms(settings.images),
    memory: new TransferMemory(settings.upload.memoryBytes),
  }
}

function openOperations(parts: Base & Storage & UpstreamParts & Credits & Pipeline, closers: Closers) {
  const { store, activity, results, slots, client, accounts, observer, now } = parts
  const { records } = store
  const history = new ActivityHistory({
    records,
    activity,
    now,
    gauges: () => {
      const queue = [...slots.depth().values()].reduce((sum, depth) => sum + depth, 0)
      const { latest } = accounts.account.balance
      return { queue, inFlight: client.inFlight, ...(latest && { balance: latest.remaining }) }
    },
    observer,
  })
  const audit = new AuditLog({ records, now, observer })
  const purges = new PurgeLog({
    records,
    forget: key => results.forget(key),
    forgetAll: () => results.forgetAll(),
    observer,
  })
  history.start()
  purges.start()
  closers.push(async () => {
    purges.close()
    await Promise.all([history.close(), audit.close()])
    observer.auditEntriesLost(audit.unsaved)
  })
  return { history, audit, purges }
}

/** Time the store keeps a result, fresh and stale. */
function keptSeconds({ cache }: Settings): number {
  return cache.ttlSeconds + cache.staleSeconds
}

/** Age in milliseconds from which no process can still have a reservation's call in flight. */
function orphanAfterMs({ server, queue, segmind }: Settings): number {
  // A purchase may follow another leader, poll that leader's job, then submit and poll its own.
  const jobsMs = 3 * segmind.timeoutMs + 2 * OUTPUT_TIMEOUT_MS
  return server.clientTimeoutMs + queue.timeoutMs + jobsMs + ORPHAN_MARGIN_MS
}
