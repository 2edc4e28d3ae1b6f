import { randomUUID } from 'node:crypto'
import type { BlobStore, LedgerEntry } from '../storage.js'
import { type Explanation, explanationOf, type FinishedRequest, told } from './explanation.js'

export interface ExplanationsOptions {
  /** Where explanations lie, by request id; they may be evicted. */
  store: BlobStore
  /** What the ledger says about a call that was planned at a time. Rejects with `StoreError`. */
  findCall(callId: string, at: number): Promise<LedgerEntry | undefined>
  now(): number
  onStoreFailure(error: unknown, doing: 'keep'): void
}

const KEPT_SECONDS = 86_400
/** Explanations under one request id: clients that try again use it again. */
const MAX_UNDER_ONE_ID = 20
/** Plain hits and refusals come by the thousand: of these so many a second are kept, and so many at once. */
const CHEAP_PER_SECOND = 5
const CHEAP_AT_ONCE = 100
/** Writes under way; what comes on top is not kept. */
const MAX_WRITING = 200

/** Keeps for a day what became of requests, behind their answers. A failure here is counted and never seen by a caller. */
export class Explanations {
  readonly #options: ExplanationsOptions
  /** The write under way for each request id; the next one for the same id waits for it. */
  readonly #writing = new Map<string, Promise<void>>()
  #tokens = CHEAP_AT_ONCE
  #refilledAt: number

  constructor(options: ExplanationsOptions) {
    this.#options = options
    this.#refilledAt = options.now()
  }

  /** Takes down a finished request, and once more when the purchase that it began has ended. */
  take(finished: FinishedRequest): void {
    const { story, durationMs } = finished
    if (!story.flight && !this.#takeToken()) return
    const named = { id: randomUUID(), at: this.#options.now() - durationMs }
    void this.#write(finished, named)
    const again = () => void this.#write(finished, named)
    story.work?.then(again, again)
  }

  /** The newest first. Rejects with `StoreError`. */
  async find(requestId: string): Promise<object[]> {
    const kept = await this.#read(requestId)
    const calls = new Map<string, LedgerEntry | undefined>()
    for (const { call, flight } of kept)
      for (const { callId, at } of [call, flight?.leader].filter(each => each !== undefined))
        if (callId !== undefined && at !== undefined) calls.set(callId, await this.#options.findCall(callId, at))
    return kept.toReversed().map(explanation => told(explanation, callId => calls.get(callId)))
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    while (this.#writing.size > 0) await Promise.all(this.#writing.values())
  }

  #write(finished: FinishedRequest, named: { id: string; at: number }): Promise<void> {
    const { requestId } = finished
    if (this.#writing.size >= MAX_WRITING) return Promise.resolve()
    const written = (this.#writing.get(requestId) ?? Promise.resolve())
      .then(() => this.#put(explanationOf(finished, named)))
      .catch(error => this.#options.onStoreFailure(error, 'keep'))
      .finally(() => {
        if (this.#writing.get(requestId) === written) this.#writing.delete(requestId)
      })
    this.#writing.set(requestId, written)
    return written
  }

  /** Two processes that write under one id at the same time may lose one of both: rare, and no money. */
  async #put(explanation: Explanation): Promise<void> {
    const { requestId, id } = explanation
    const others = (await this.#read(requestId)).filter(other => other.id !== id)
    const meta = JSON.stringify([...others, explanation].slice(-MAX_UNDER_ONE_ID))
    await this.#options.store.put(requestId, { meta, body: Buffer.alloc(0) }, KEPT_SECONDS)
  }

  async #read(requestId: string): Promise<Explanation[]> {
    const blob = await this.#options.store.get(requestId)
    return blob ? (JSON.parse(blob.meta) as Explanation[]) : []
  }

  #takeToken(): boolean {
    const now = this.#options.now()
    const gained = ((now - this.#refilledAt) / 1000) * CHEAP_PER_SECOND
    this.#tokens = Math.min(CHEAP_AT_ONCE, this.#tokens + Math.max(0, gained))
    this.#refilledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
