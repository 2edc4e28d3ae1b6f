import { randomUUID } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import { toCredits } from '../contracts/nanocredits.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { FinishedRequest } from '../contracts/records.js'
import type { BlobStore, LedgerEntry } from '../contracts/store.js'
import { KEY_PARTS } from '../segment/cache-key.js'
import type { Story, StoryLeader } from '../segment/story.js'

export interface ExplanationLogOptions {
  /** Holds explanations by request id. They may be evicted. */
  store: BlobStore
  /** Reads the ledger entry of a call that was planned at `at`. Rejects with `StoreError`. */
  findCall(callId: string, at: number): Promise<LedgerEntry | undefined>
  now: Clock
  observer: StoreObserver
}

const KEPT_SECONDS = 86_400
/** Bound of the explanations under one request id. Clients reuse an id when they retry. */
const MAX_UNDER_ONE_ID = 20
/** Rate limit for explanations of hits and refusals, which are frequent: average rate and burst. */
const CHEAP_PER_SECOND = 5
const CHEAP_BURST = 100
/** Bound of the request ids whose explanations wait to be written. Those of further ids are dropped. */
const MAX_WAITING = 200
/** Longest time until an explanation is written, together with others. */
const WRITE_AFTER_MS = 500

/** A request whose explanation waits to be written. */
interface Waiting {
  finished: FinishedRequest
  story: Story
  id: string
  at: number
}

/**
 * Keeps explanations of requests for a day. Writes them after the response, so a failure never
 * reaches a caller.
 */
export class ExplanationLog {
  readonly #options: ExplanationLogOptions
  /** By request id. */
  readonly #waiting = new Map<string, Waiting[]>()
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()
  #tokens = CHEAP_BURST
  #refilledAt: number

  constructor(options: ExplanationLogOptions) {
    this.#options = options
    this.#refilledAt = options.now()
  }

  /** Records a finished request, and again once the purchase it started has ended. */
  record(finished: FinishedRequest, story: Story): void {
    if (!story.flight && !this.#takeToken()) return
    const waiting = { finished, story, id: randomUUID(), at: this.#options.now() - finished.durationMs }
    this.#add(waiting)
    const addAgain = () => this.#add({ ...waiting, finished: { ...finished, isNewId: false } })
    story.work?.then(addAgain, addAgain)
  }

  /** Finds the explanations under a request id, the newest first. Rejects with `StoreError`. */
  async find(requestId: string): Promise<object[]> {
    await this.#write()
    const kept = await this.#read(requestId)
    const calls = new Map<string, LedgerEntry | undefined>()
    for (const { call, flight } of kept)
      for (const { callId, at } of [call, flight?.leader].filter(each => each !== undefined))
        if (callId !== undefined && at !== undefined) calls.set(callId, await this.#options.findCall(callId, at))
    return kept.toReversed().map(explanation => toJson(explanation, callId => calls.get(callId)))
  }

  /** Resolves once all explanations are written. */
  async idle(): Promise<void> {
    while (this.#waiting.size > 0) await this.#write()
    await this.#writing
  }

  #add(waiting: Waiting): void {
    const { requestId } = waiting.finished
    const others = this.#waiting.get(requestId)
    if (!others && this.#waiting.size >= MAX_WAITING) return
    this.#waiting.set(requestId, [...(others ?? []), waiting].slice(-MAX_UNDER_ONE_ID))
    this.#timer ??= setTimeout(() => void this.#write(), WRITE_AFTER_MS).unref()
  }

  /** Writes what waits, after the writes in progress. Never rejects. */
  #write(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writing = this.#writing.then(async () => {
      const all = [...this.#waiting]
      this.#waiting.clear()
      await Promise.all(all.map(([requestId, waiting]) => this.#put(requestId, waiting)))
    })
    return this.#writing
  }

  /**
   * Two processes that write under one id at the same time may lose one explanation. That is rare
   * and costs no credits. A new id has no other explanations, so they need not be read.
   */
  async #put(requestId: string, waiting: readonly Waiting[]): Promise<void> {
    const { store, observer } = this.#options
    const isNewId = waiting[0]?.finished.isNewId
    try {
      const explanations = new Map(waiting.map(each => [each.id, explanationOf(each.finished, each.story, each)]))
      const others = isNewId ? [] : await this.#read(requestId)
      const kept = [...others.filter(({ id }) => !explanations.has(id)), ...explanations.values()]
      const meta = JSON.stringify(kept.slice(-MAX_UNDER_ONE_ID))
      await store.put(requestId, { meta, body: Buffer.alloc(0) }, KEPT_SECONDS)
    } catch (error) {
      observer.storeFailed(error, 'requests: keep')
    }
  }

  async #read(requestId: string): Promise<Explanation[]> {
    const blob = await this.#options.store.get(requestId)
    return blob ? (JSON.parse(blob.meta) as Explanation[]) : []
  }

  #takeToken(): boolean {
    const now = this.#options.now()
    const gained = ((now - this.#refilledAt) / 1000) * CHEAP_PER_SECOND
    this.#tokens = Math.min(CHEAP_BURST, this.#tokens + Math.max(0, gained))
    this.#refilledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

type StoredCall = Story['call']

/**
 * The stored JSON of a request, without picture and without key. Amounts in credits, times in ISO
 * 8601.
 */
type Explanation = ReturnType<typeof explanationOf>

/**
 * Builds the explanation of a request. `at`: time of the request, milliseconds since 1970. `id`:
 * distinguishes requests under the same request id.
 */
function explanationOf(finished: FinishedRequest, story: Story, { id, at }: { id: string; at: number }) {
  const { requestId, route, team, keyId = '', status, error, cache, charged } = finished
  const { question, looks, flight, call, attempts, balanceBefore, balanceAfter } = story
  return {
    id,
    requestId,
    at: iso(at),
    route,
    team,
    keyId,
    status,
    ...defined({ code: error, question: question && questionOf(question) }),
    cache: {
      ...(cache !== '' && { how: cache }),
      looks: looks.map(({ boughtAt, ...look }) => ({
        ...look,
        ...(boughtAt !== undefined && { boughtAt: iso(boughtAt) }),
      })),
    },
    ...defined({ flight, call }),
    attempts: attempts.map(({ afterMs, durationMs, ...attempt }) => ({
      ...attempt,
      afterMs: Math.round(afterMs),
      durationMs: Math.round(durationMs),
    })),
    waits: waitsOf(finished, story),
    ...defined({
      chargedCredits: charged && toCredits(charged),
      balanceBeforeCredits: balanceBefore && toCredits(balanceBefore),
      balanceAfterCredits: balanceAfter && toCredits(balanceAfter),
    }),
  }
}

/**
 * Completes an explanation for operators with the current ledger entry of the call it made or
 * followed.
 */
function toJson(
  { id: _internal, call, flight, ...rest }: Explanation,
  entryOf: (callId: string) => LedgerEntry | undefined,
) {
  return {
    ...rest,
    ...(flight && { flight: { ...flight, ...(flight.leader && { leader: leaderOf(flight.leader, entryOf) }) } }),
    ...(call && { call: callOf(call, entryOf(call.callId)) }),
  }
}

function questionOf({ resultId, digest, params, scope, cache, isIdempotent }: NonNullable<Story['question']>) {
  const { noCache, noStore, onlyIfCached, maxAgeSeconds } = cache
  const directives = [
    noCache && 'no-cache',
    noStore && 'no-store',
    onlyIfCached && 'only-if-cached',
    maxAgeSeconds !== undefined && `max-age=${maxAgeSeconds}`,
  ].filter(directive => typeof directive === 'string')
  return {
    resultId,
    ...KEY_PARTS,
    imageId: `sha256:${digest}`,
    params,
    cacheControl: directives,
    idempotencyKey: isIdempotent,
    ...(scope !== '' && { scope }),
  }
}

function waitsOf({ uploadMs, cacheMs, upstreamMs, durationMs }: FinishedRequest, { queueMs }: Story) {
  const spans = defined({ uploadMs, cacheMs, queueMs, upstreamMs, totalMs: durationMs })
  const rounded = Object.entries(spans).map(([name, ms]) => [name, Math.round(ms * 10) / 10])
  return Object.fromEntries(rounded) as Record<string, number>
}

function leaderOf({ at, ...leader }: StoryLeader, entryOf: (callId: string) => LedgerEntry | undefined) {
  const entry = leader.callId === undefined ? undefined : entryOf(leader.callId)
  return {
    ...leader,
    ...(at !== undefined && { at: iso(at) }),
    ...(entry && { requestId: entry.requestId, call: callOf(undefined, entry) }),
  }
}

/** A call without a ledger entry was `released`: Segmind did not bill it. */
function callOf(call: StoredCall, entry: LedgerEntry | undefined) {
  if (!entry) return { callId: call?.callId, purchase: call?.purchase, outcome: 'released' }
  const { callId, purchase = 'first', estimate, state, settled, jobId } = entry
  return {
    callId,
    purchase,
    outcome: state,
    estimateCredits: toCredits(estimate),
    ...(settled && {
      costCredits: toCredits(settled.cost),
      costSource: settled.costSource,
      settledAt: iso(settled.settledAt),
      ...defined({ upstreamRequestId: settled.upstreamRequestId }),
    }),
    ...defined({ jobId }),
  }
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
