import { setTimeout as sleep } from 'node:timers/promises'
import { Coalescer } from '../cache/coalescer.js'
import { ResultCache } from '../cache/result-cache.js'
import type { Settings } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import type { GatewayError } from '../contracts/errors.js'
import { fromCredits } from '../contracts/nanocredits.js'
import type { Result } from '../contracts/types.js'
import type { Mode } from '../http/segment/route-parts.js'
import { HeldImages } from '../images/held-images.js'
import { createImageCheck } from '../images/image-check.js'
import { KnownBodyStore } from '../images/known-bodies.js'
import type { Segmenter } from '../sandbox/segmenter.js'
import { SLOW, triggerIn } from '../sandbox/test-triggers.js'
import { createTestUpstream } from '../sandbox/test-upstream.js'
import { Schedule } from '../schedule/schedule.js'
import type { SegmentRequest } from '../segment/keyed-request.js'
import { PaidFailures } from '../segment/paid-failures.js'
import type {
  FlightLeader,
  FlightNote,
  FlightOutcome,
  Leases,
  Ledger,
  MaskForms,
  Purchase,
  Reservation,
} from '../segment/ports.js'
import { createMemoryBlobs } from '../store/memory-blobs.js'
import { createMemorySchedule } from '../store/schedule/memory-schedule.js'

export interface TestModeOptions {
  settings: Settings
  maskForms: MaskForms
  now: Clock
  segmenter?: Segmenter | undefined
}

const MIB = 1024 ** 2
/**
 * Memory for the results and images of test keys. Entries are evicted when there is no room, or
 * after an hour.
 */
const RESULT_BYTES = 32 * MIB
const IMAGE_BYTES = 64 * MIB
const KEEP_SECONDS = 3_600
/**
 * Segmentations at once for test keys, and how many may wait: they run on this process's own
 * processor time.
 */
const MAX_CONCURRENT = 2
const MAX_WAITING = 64
/** `test:upstream_slow`: the caller's timeout, and how much longer than that the picture takes. */
const SLOW_TIMEOUT_MS = 1_000
const SLOW_MS = 3_000
/** Credits that a test key is shown as remaining. It never spends any. */
const REMAINING = fromCredits(1_000)
const MAX_OUTCOMES = 1_000
const KEEP_OUTCOME_MS = 60_000

/**
 * Builds test mode, for test keys (`SG_gt…`): the same pipeline with a local segmenter in place of
 * Segmind, and a cache, images and flights of its own, in memory. Nothing reaches the store, the
 * ledger, the account or the statements.
 */
export function createTestMode(options: TestModeOptions): Mode & { close(): Promise<void> } {
  const { settings, maskForms, now, segmenter } = options
  const observer = { storeFailed: () => {}, resultLost: () => {}, bodyDamaged: () => {} }
  const results = new ResultCache({
    memoryBytes: 0,
    store: createMemoryBlobs({ maxBytes: RESULT_BYTES }),
    isStoreUp: () => true,
    keepSeconds: KEEP_SECONDS,
    unsavedBytes: 0,
    observer,
  })
  const blobs = createMemoryBlobs({ maxBytes: IMAGE_BYTES })
  const ttlSeconds = Math.min(settings.images.ttlSeconds, KEEP_SECONDS)
  const images = new HeldImages({ store: blobs, ttlSeconds, now, observer })
  const upstream = createTestUpstream({ slowMs: SLOW_MS, wait: ms => sleep(ms, undefined, { ref: false }), segmenter })
  const slots = new Schedule({
    local: createMemorySchedule(now),
    limits: { slots: MAX_CONCURRENT, maxWaiting: MAX_WAITING, perMinute: 0 },
    timeoutMs: settings.queue.timeoutMs,
    now: performance.now.bind(performance),
  })
  return {
    isTest: true,
    images,
    bodies: new KnownBodyStore({ store: blobs, ttlSeconds: KEEP_SECONDS, observer }),
    allowance: { remaining: async () => REMAINING },
    refreshRemaining: async () => REMAINING,
    creditState: () => 'normal',
    prepare: withShortTimeout,
    pipeline: {
      ...localPipeline(settings, now),
      results,
      images,
      upstream,
      slots,
      maskForms,
      dropResult: async key => void (await results.purge(key)),
      queue: team => slots.forecast(team),
    },
    async close() {
      await slots.close()
      results.unsaved.close()
      await upstream.close()
    },
  }
}

/** Builds the pipeline's parts that test mode and its routes do not share. */
function localPipeline(settings: Settings, now: Clock) {
  return {
    now,
    flights: new Coalescer<Purchase, FlightLeader>(),
    shaping: new Coalescer<Result>(),
    leases: createLocalLeases(now),
    account: {
      gate: { admit: () => {}, refused: async (error: GatewayError) => error },
      balance: { latest: undefined },
    },
    paidFailures: new PaidFailures(now),
    ledger: FREE_LEDGER,
    checkImage: createImageCheck(settings.images),
    orientation: settings.images.orientation,
    journal: { answered: () => {} },
    observer: { resultAnswered: () => {}, orientationContradicted: () => {}, pictureUnfit: () => {} },
    backgroundPurchases: new Map(),
    freshSeconds: KEEP_SECONDS,
    staleSeconds: 0,
    coalesce: true,
    clientTimeoutMs: settings.server.clientTimeoutMs,
    cacheScope: settings.cache.scope,
    estimate: () => 0,
    wouldRefuse: async () => undefined,
  }
}

/**
 * Shortens the wait of `test:upstream_slow`, so that a test of it takes a second and not a minute.
 */
function withShortTimeout(request: SegmentRequest): SegmentRequest {
  if (triggerIn(request.params) !== SLOW) return request
  const { respondAsync = false, waitMs = SLOW_TIMEOUT_MS } = request.prefer ?? {}
  return { ...request, prefer: { respondAsync, waitMs: Math.min(waitMs, SLOW_TIMEOUT_MS) } }
}

const FREE_RESERVATION: Reservation = {
  costOf: async () => 0,
  describe: () => {},
  recheck: async () => {},
  submitted: async () => {},
  settle: async () => 0,
  release: async () => {},
  unknown: async () => {},
}

/** A ledger that books nothing. */
const FREE_LEDGER: Ledger = {
  reserve: async () => FREE_RESERVATION,
  find: async () => undefined,
}

/**
 * Builds leases for one process. Its flights elect the leader; the leases only keep how each flight
 * ended.
 */
function createLocalLeases(now: Clock): Leases {
  const ended = new Map<string, { note: FlightNote; outcome: FlightOutcome; at: number }>()
  return {
    async take(name, note) {
      ended.delete(name)
      return {
        role: 'leader',
        purchase: 'first',
        end(outcome) {
          ended.set(name, { note, outcome, at: now() })
          const [oldest] = ended.keys()
          if (ended.size > MAX_OUTCOMES && oldest !== undefined) ended.delete(oldest)
        },
      }
    },
    async look(name) {
      const found = ended.get(name)
      return found && now() - found.at < KEEP_OUTCOME_MS ? found : undefined
    },
  }
}
