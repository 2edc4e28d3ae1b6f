import { setTimeout as sleep } from 'node:timers/promises'
import { Coalescer } from './cache/coalescer.js'
import { ResultCache } from './cache/result-cache.js'
import type { Settings } from './config.js'
import type { Lane } from './http/lane.js'
import { HeldImages } from './images/held-images.js'
import { KnownBodies } from './images/known-bodies.js'
import { fromCredits } from './nanocredits.js'
import { SLOW, triggerIn } from './sandbox/test-triggers.js'
import { createTestUpstream } from './sandbox/test-upstream.js'
import { FairQueue } from './schedule/fair-queue.js'
import { createImageCheck } from './segment/image.js'
import type { FlightNote, Landing, Leases, Ledger, MaskForms, Purchase, Reservation } from './segment/ports.js'
import type { SegmentRequest } from './segment/question.js'
import type { Result } from './segment/types.js'
import { createMemoryBlobs } from './store/memory-blobs.js'

export interface TestLaneOptions {
  settings: Settings
  maskForms: MaskForms
  now(): number
}

const MB = 1024 ** 2
/** What test keys may take of the memory: pictures and images. What they leave goes when there is no room, or after an hour. */
const RESULT_BYTES = 32 * MB
const IMAGE_BYTES = 64 * MB
const KEEP_SECONDS = 3_600
/** Segmentations at a time for test keys, and how many may wait: they share the processor with everybody. */
const AT_ONCE = 2
const WAITING = 64
/** `test:upstream_slow`: so long a caller waits, so much longer the picture takes. */
const SLOW_PATIENCE_MS = 1_000
const SLOW_MS = 3_000
/** What a test key may still spend: it spends nothing. */
const REMAINING = fromCredits(1_000)
const LANDINGS = 1_000
const LANDING_MS = 60_000

/**
 * Builds what test keys (`SG_gt…`) meet: the same pipeline with a segmenter of its own instead of Segmind, and a cache, images and flights of its own, in memory.
 * Nothing of it reaches the store, the ledger, the account or the statements.
 */
export function createTestLane({ settings, maskForms, now }: TestLaneOptions): Lane & { close(): Promise<void> } {
  const onStoreFailure = () => {}
  const results = new ResultCache({
    ...{ memoryBytes: 0, store: createMemoryBlobs({ maxBytes: RESULT_BYTES }), isStoreUp: () => true },
    ...{ keepSeconds: KEEP_SECONDS, unsavedBytes: 0, onStoreFailure, onLost: () => {} },
  })
  const blobs = createMemoryBlobs({ maxBytes: IMAGE_BYTES })
  const ttlSeconds = Math.min(settings.images.ttlSeconds, KEEP_SECONDS)
  const images = new HeldImages({ store: blobs, ttlSeconds, now, onStoreFailure })
  const upstream = createTestUpstream({ slowMs: SLOW_MS, wait: ms => sleep(ms, undefined, { ref: false }) })
  const turns = new FairQueue({
    ...{ maxConcurrent: AT_ONCE, maxWaiting: WAITING, timeoutMs: settings.queue.timeoutMs },
    now: () => performance.now(),
  })
  return {
    isTest: true,
    images,
    bodies: new KnownBodies({ store: blobs, ttlSeconds: KEEP_SECONDS, onStoreFailure }),
    remaining: async () => REMAINING,
    askRemaining: async () => REMAINING,
    creditState: () => 'normal',
    prepare: withPatience,
    pipeline: {
      ...{ results, images, upstream, turns, maskForms, now },
      flights: new Coalescer<Purchase>(),
      shaping: new Coalescer<Result>(),
      leases: createLandings(now),
      ledger: FREE_LEDGER,
      checkImage: createImageCheck({ maxPixels: settings.images.maxPixels }),
      journal: { answered: () => {} },
      pursuits: new Map(),
      ...{ freshSeconds: KEEP_SECONDS, staleSeconds: 0, coalesce: true },
      patienceMs: settings.server.clientTimeoutMs,
      cacheScope: settings.cache.scope,
      estimate: () => 0,
      wouldRefuse: async () => undefined,
      queue: team => turns.outlook(team),
    },
    async close() {
      results.unsaved.close()
      await upstream.close()
    },
  }
}

/** Nobody wants to wait a minute to see what happens then. */
function withPatience(question: SegmentRequest): SegmentRequest {
  if (triggerIn(question.params) !== SLOW) return question
  const { respondAsync = false, waitMs = SLOW_PATIENCE_MS } = question.prefer ?? {}
  return { ...question, prefer: { respondAsync, waitMs: Math.min(waitMs, SLOW_PATIENCE_MS) } }
}

const FREE_RESERVATION: Reservation = {
  costOf: async () => 0,
  describe: () => {},
  submitted: async () => {},
  settle: async () => 0,
  release: async () => {},
  unknown: async () => {},
}

/** Books nothing. */
const FREE_LEDGER: Ledger = {
  admit: () => {},
  reserve: async () => FREE_RESERVATION,
  balance: () => undefined,
  find: async () => undefined,
}

/** In one process its flights tell who leads; here is only kept how they ended, for whoever comes back for it. */
function createLandings(now: () => number): Leases {
  const landed = new Map<string, { note: FlightNote; landing: Landing; at: number }>()
  return {
    async take(name, note) {
      landed.delete(name)
      return {
        role: 'leader',
        purchase: 'first',
        land(landing) {
          landed.set(name, { note, landing, at: now() })
          const [oldest] = landed.keys()
          if (landed.size > LANDINGS && oldest !== undefined) landed.delete(oldest)
        },
      }
    },
    async look(name) {
      const found = landed.get(name)
      return found && now() - found.at < LANDING_MS ? found : undefined
    },
  }
}
