import { randomUUID } from 'node:crypto'
import type { RecordStore } from '../storage.js'

/** What was submitted, and how it ended. Times in milliseconds since 1970. */
export interface Job {
  id: string
  team: string
  isTest: boolean
  /** Where the answer will be. */
  resultId: string
  submittedAt: number
  /** A new answer was asked for (`no-cache`): one that is there already is not it. */
  mustBuy: boolean
  end?: JobEnd
}

export type JobEnd =
  /** `cost` in nanocredits; durations in milliseconds. */
  | { kind: 'completed'; at: number; cost: number; queueMs: number; upstreamMs: number }
  /** Nobody waits for the purchase any longer; it goes on, and is found by its result. */
  | { kind: 'unattended'; at: number }
  | { kind: 'failed'; at: number; code: string; message: string; retryable: boolean; billed: string }

export interface JobsOptions {
  records: RecordStore
  now(): number
  onStoreFailure(error: unknown, doing: 'end'): void
}

/** How long a job can be asked about, as at Segmind. */
const KEPT_SECONDS = 3_600

/** The jobs of `POST /v2/sam-v2-image`, known to all replicas. */
export class Jobs {
  readonly #options: JobsOptions
  readonly #ending = new Set<Promise<void>>()

  constructor(options: JobsOptions) {
    this.#options = options
  }

  /** Takes a job down before anything is spent on it. Rejects with `StoreError`. */
  async open(asked: Pick<Job, 'team' | 'isTest' | 'resultId' | 'mustBuy'>): Promise<Job> {
    const job: Job = { id: randomUUID(), submittedAt: this.#options.now(), ...asked }
    await this.#options.records.put(keyOf(job.id), JSON.stringify(job), '', KEPT_SECONDS)
    return job
  }

  /** Rejects with `StoreError`. */
  async find(id: string): Promise<Job | undefined> {
    const record = await this.#options.records.get(keyOf(id))
    return record && (JSON.parse(record.value) as Job)
  }

  /** Takes down how a job ended. Never rejects: where that is lost, its result or its failure can still be looked up. */
  end(job: Job, end: JobEnd): Promise<void> {
    const written = this.#write({ ...job, end }).catch(error => this.#options.onStoreFailure(error, 'end'))
    this.#ending.add(written)
    void written.finally(() => this.#ending.delete(written))
    return written
  }

  /** Resolves when nothing is being written. */
  async idle(): Promise<void> {
    await Promise.all(this.#ending)
  }

  async #write(job: Job): Promise<void> {
    const { records } = this.#options
    const record = await records.get(keyOf(job.id))
    if (record) await records.put(keyOf(job.id), JSON.stringify(job), record.version, KEPT_SECONDS)
  }
}

function keyOf(id: string): string {
  return `job:${id}`
}
