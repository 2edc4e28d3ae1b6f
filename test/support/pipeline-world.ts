import { Coalescer } from '../../src/cache/coalescer.js'
import { SharedFlights } from '../../src/cache/shared-flights.js'
import { type ErrorCode, GatewayError } from '../../src/errors.js'
import { cacheKey } from '../../src/segment/cache-key.js'
import { type SegmentAnswer, segment } from '../../src/segment/pipeline.js'
import type {
  Bill,
  EarlierCall,
  PipelineParts,
  PlannedCall,
  Purchase,
  Reservation,
  UpstreamOutcome,
} from '../../src/segment/ports.js'
import type { SegmentRequest } from '../../src/segment/question.js'
import type { ImageBytes, Params, Result } from '../../src/segment/types.js'
import { MemoryLeases } from './memory-leases.js'
import { aCaller } from './team.js'

export const DIGEST = 'd'.repeat(64)
export const IMAGE: ImageBytes = { type: 'jpeg', digest: DIGEST, chunks: [Buffer.from('photo')], byteLength: 5 }
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

/** What several processes share. */
export function shop() {
  return { cache: new Map<string, Result>(), leases: new MemoryLeases(), calls: new Map<string, EarlierCall>() }
}

/** A pipeline over plain objects: one process. Every step is noted in `steps`, in order; `upstream` may be replaced or held at a gate. */
export function world(changes: Partial<PipelineParts> = {}, { cache, leases, calls } = shop()) {
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
    beatMs: 10,
    silenceMs: state.silenceMs,
    outageGraceMs: 0,
    isDraining: () => state.isDraining,
    onSeat: role => void (role === 'leader' || steps.push(role)),
    onStoreFailure: () => {},
    onTakenAway: () => void steps.push('taken away'),
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
    flights: new Coalescer<Purchase>(),
    pursuits: new Map(),
    leases: flights,
    checkImage: async () => {
      steps.push('check')
      return { width: 16, height: 16 }
    },
    ledger: {
      admit: () => {},
      balance: () => undefined,
      reserve: async call => {
        planned.push(call)
        steps.push('reserve')
        return reservation
      },
      find: async callId => calls.get(callId),
    },
    turns: {
      take: async () => {
        steps.push('turn')
        return { waitedMs: 3, done: () => steps.push('done') }
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
    journal: { answered: ({ team, how, result }) => void steps.push(`${team.id} ${how} ${result.cost}`) },
    now: () => state.now,
    freshSeconds: 100,
    staleSeconds: 50,
    patienceMs: 60_000,
    cacheScope: 'shared',
    coalesce: true,
    ...changes,
  }
  const ask = (asked = request()) => answered(segment(asked, parts))
  return { parts, steps, planned, cache, images, state, upstream, leases, calls, reservation, flights, ask }
}

export async function answered(asking: ReturnType<typeof segment>): Promise<SegmentAnswer> {
  const answer = await asking
  if (answer.how === 'accepted') throw new Error('the answer is only accepted')
  return answer
}

export function gate<T = void>() {
  let open!: (value: T) => void
  const promise = new Promise<T>(resolve => {
    open = resolve
  })
  return { promise, open }
}

/** Holds the calls of a world until its gate is opened. */
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
