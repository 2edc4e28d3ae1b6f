import { Coalescer } from '../../../src/cache/coalescer.js'
import { SharedFlights } from '../../../src/cache/shared-flights.js'
import { type ErrorCode, GatewayError } from '../../../src/contracts/errors.js'
import type { ImageBytes, Params, Result } from '../../../src/contracts/types.js'
import { cacheKey } from '../../../src/segment/cache-key.js'
import type { SegmentRequest } from '../../../src/segment/keyed-request.js'
import { PaidFailures } from '../../../src/segment/paid-failures.js'
import { type SegmentAnswer, segment } from '../../../src/segment/pipeline.js'
import type {
  Bill,
  EarlierCall,
  FlightLeader,
  PipelineParts,
  PlannedCall,
  Purchase,
  Reservation,
  Slot,
  UpstreamOutcome,
} from '../../../src/segment/ports.js'
import { deferred } from '../deferred.js'
import { MemoryLeases } from './memory-leases.js'
import { aCaller } from './team.js'

export const DIGEST = 'd'.repeat(64)
const IMAGE: ImageBytes = { type: 'jpeg', digest: DIGEST, chunks: [Buffer.from('photo')], byteLength: 5 }
export const PARAMS: Params = { prompt: 'cup', overlayMask: true }
export const NO_DIRECTIVES = { noCache: false, noStore: false, onlyIfCached: false }
export const KEY = cacheKey(DIGEST, PARAMS, '')

export function request(changes: Partial<SegmentRequest> = {}): SegmentRequest {
  return {
    requestId: 'r1',
    caller: aCaller(),
    image: { digest: DIGEST, uploaded: IMAGE },
    params: PARAMS,
    cache: NO_DIRECTIVES,
    ...changes,
  }
}

export const kept = (text: string, storedAt: number): Result => ({
  body: Buffer.from(text),
  contentType: 'image/jpeg',
  etag: 'e',
  storedAt,
  cost: 1700,
})

/** State that several processes share. */
export function sharedState() {
  return { cache: new Map<string, Result>(), leases: new MemoryLeases(), calls: new Map<string, EarlierCall>() }
}

/**
 * Creates one process: a pipeline over plain objects. `steps` records every step in order.
 * `upstream` can be replaced, or held at a gate.
 */
export function world(changes: Partial<PipelineParts> = {}, { cache, leases, calls } = sharedState()) {
  const steps: string[] = []
  const planned: PlannedCall[] = []
  const images = new Map<string, ImageBytes>()
  const state = { now: 1_000_000, calls: 0, isStoreDown: false, isDraining: false, silenceMs: 40 }
  const upstream = {
    segment: async (): Promise<UpstreamOutcome> => ({
      kind: 'answered',
      body: Buffer.from('mask'),
      contentType: 'image/jpeg',
      bill: { cost: 1700, remaining: 5 },
    }),
  }
  const reservation: Reservation = {
    costOf: async ({ cost }) => cost ?? 2000,
    describe: () => {},
    recheck: async () => {},
    submitted: async jobId => void steps.push(`submitted ${jobId}`),
    settle: async (bill: Bill) => {
      steps.push(`settle ${bill.cost}`)
      return bill.cost ?? 2000
    },
    release: async () => void steps.push('release'),
    unknown: async () => void steps.push('unknown'),
  }
  const flights = new SharedFlights({
    store: leases,
    ttlMs: 1_000,
    heartbeatMs: 10,
    silenceMs: state.silenceMs,
    outageGraceMs: 0,
    isDraining: () => state.isDraining,
    observer: {
      storeFailed: () => {},
      flightJoined: role => void (role === 'leader' || steps.push(role)),
      leaseTakenOver: () => void steps.push('lease lost'),
    },
  })
  const parts: PipelineParts = {
    results: {
      find: async key => {
        const result = state.isStoreDown ? undefined : cache.get(key)
        return { isSure: !state.isStoreDown, ...(result && { result }) }
      },
      keep: async (key, result) => {
        steps.push(key === KEY ? 'keep' : 'keep once')
        cache.set(key, result)
        return { stored: true, written: Promise.resolve(true) }
      },
    },
    images: {
      find: async (scope, digest) => images.get(`${scope}/${digest}`),
      keep: async (scope, image) => void images.set(`${scope}/${image.digest}`, image),
    },
    flights: new Coalescer<Purchase, FlightLeader>(),
    backgroundPurchases: new Map(),
    leases: flights,
    checkImage: async () => {
      steps.push('check')
      const photo = { width: 16, height: 16, orientation: 1 }
      return { photo, frame: photo }
    },
    paidFailures: new PaidFailures(() => state.now),
    account: { gate: { admit: () => {}, refused: async error => error }, balance: { latest: undefined } },
    ledger: {
      reserve: async call => {
        planned.push(call)
        steps.push('reserve')
        return reservation
      },
      find: async callId => calls.get(callId),
    },
    slots: {
      acquire: async () => {
        steps.push('slot')
        const slot: Slot = {
          waitedMs: 3,
          release: use => void steps.push(use ?? 'done'),
          throttled: waitMs => void steps.push(`throttled ${waitMs}`),
          requeue: async () => {
            steps.push('requeue')
            return slot
          },
        }
        return slot
      },
    },
    upstream: {
      admit: () => {},
      segment: async () => {
        steps.push('call')
        state.calls++
        return upstream.segment()
      },
      resume: async jobId => {
        steps.push(`resume ${jobId}`)
        return upstream.segment()
      },
    },
    observer: {
      resultAnswered: () => {},
      orientationContradicted: () => void steps.push('orientation contradicted'),
      pictureUnfit: kind => void steps.push(`unfit ${kind}`),
    },
    orientation: 'applied',
    journal: { answered: ({ team, how, result }) => void steps.push(`${team.id} ${how} ${result.cost}`) },
    now: () => state.now,
    freshSeconds: 100,
    staleSeconds: 50,
    clientTimeoutMs: 60_000,
    cacheScope: 'shared',
    coalesce: true,
    ...changes,
  }
  const ask = (sent = request()) => answered(segment(sent, parts))
  return { parts, steps, planned, cache, images, state, upstream, leases, calls, reservation, flights, ask }
}

export async function answered(pending: ReturnType<typeof segment>): Promise<SegmentAnswer> {
  const answer = await pending
  if (answer.how === 'accepted') throw new Error('the request was only accepted')
  return answer
}

export function gate<T = void>() {
  const { promise, resolve: open } = deferred<T>()
  return { promise, open }
}

/** Holds the calls of a world until the gate is opened. */
export function held({ upstream }: ReturnType<typeof world>) {
  const { promise, open } = gate()
  const plain = upstream.segment
  upstream.segment = async () => {
    await promise
    return plain()
  }
  return { open }
}

export const settled = () => new Promise(resolve => setImmediate(resolve))
export const failure = (code: ErrorCode, billed: 'no' | 'yes' | 'unknown', bill: Bill = {}): UpstreamOutcome => ({
  kind: 'failed',
  error: new GatewayError(code, 'it failed', { billed }),
  bill,
})
