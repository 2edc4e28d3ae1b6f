import type { FastifyBaseLogger } from 'fastify'
import { Coalescer } from './cache/coalescer.js'
import { ResultCache } from './cache/result-cache.js'
import { SharedFlights } from './cache/shared-flights.js'
import type { Settings } from './config.js'
import type { BudgetCalendar } from './credits/windows.js'
import { UploadBudget } from './http/upload-budget.js'
import { HeldImages } from './images/held-images.js'
import { KnownBodies } from './images/known-bodies.js'
import type { Metrics } from './metrics.js'
import { Explanations } from './requests/explanations.js'
import { Jobs } from './requests/jobs.js'
import { FairQueue } from './schedule/fair-queue.js'
import { createMaskForms } from './segment/mask-forms.js'
import type { Purchase } from './segment/ports.js'
import type { Result } from './segment/types.js'
import type { Store } from './storage.js'

export interface CachingParts {
  settings: Settings
  log: FastifyBaseLogger
  store: Store
  metrics: Metrics
  calendar: BudgetCalendar
  now(): number
  onFailure(error: unknown, doing: string): void
  isDraining(): boolean
  /** How old a reservation is that no process can have under way any more, milliseconds. */
  orphanAfterMs: number
}

/** Bound of the paid answers that wait for a store that is down. */
const UNSAVED_RESULT_BYTES = 256 * 1024 ** 2
/** How long Segmind keeps the record of a job. */
const JOB_RECORD_MS = 3_600_000

/** What a request meets between its upload and Segmind: answers there are, answers on their way, whose turn it is; and what is kept of it. */
export function buildCaching(parts: CachingParts) {
  const { settings, metrics } = parts
  return {
    ...keptThings(parts),
    leases: shareFlights(parts),
    flights: new Coalescer<Purchase>(),
    shaping: new Coalescer<Result>(),
    maskForms: createMaskForms({ maxPixels: settings.images.maxPixels }),
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

function keptThings({ settings, log, store, metrics, calendar, now, onFailure }: CachingParts) {
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
      now,
      onStoreFailure: (error, doing) => onFailure(error, `images: ${doing}`),
    }),
    bodies: new KnownBodies({
      store: store.images,
      ttlSeconds: settings.cache.ttlSeconds,
      onStoreFailure: (error, doing) => onFailure(error, `bodies: ${doing}`),
    }),
    jobs: new Jobs({
      records: store.records,
      now,
      onStoreFailure: (error, doing) => onFailure(error, `jobs: ${doing}`),
    }),
    explanations: new Explanations({
      store: store.requests,
      findCall: (callId, at) => store.ledger.entry(calendar.windows(at).day, callId),
      now,
      onStoreFailure: (error, doing) => onFailure(error, `requests: ${doing}`),
    }),
  }
}

function shareFlights({ log, store, metrics, onFailure, isDraining, orphanAfterMs }: CachingParts): SharedFlights {
  return new SharedFlights({
    store: store.leases,
    ttlMs: orphanAfterMs + JOB_RECORD_MS,
    isDraining,
    onSeat: role => metrics.seated(role),
    onStoreFailure: onFailure,
    onTakenAway: name => log.warn({ resultId: name }, 'another process has taken over a purchase under way here'),
  })
}
