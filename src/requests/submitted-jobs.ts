import { randomUUID } from 'node:crypto'
import type { Clock } from '../contracts/clock.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { JobEnd, NewSubmittedJob, SubmittedJob } from '../contracts/records.js'
import type { RecordStore } from '../contracts/store.js'

export interface SubmittedJobsOptions {
  records: RecordStore
  now: Clock
  observer: StoreObserver
}

/** Time for which the status of a job is available, as at Segmind. */
const KEPT_SECONDS = 3_600

/** The jobs of `POST /v2/sam-v2-image`, shared by all replicas. */
export class SubmittedJobs {
  readonly #options: SubmittedJobsOptions
  readonly #ending = new Set<Promise<void>>()

  constructor(options: SubmittedJobsOptions) {
    this.#options = options
  }

  /** Records a job before credits are spent on it. Rejects with `StoreError`. */
  async open(request: NewSubmittedJob): Promise<SubmittedJob> {
    const job: SubmittedJob = { id: randomUUID(), submittedAt: this.#options.now(), ...request }
    await this.#options.records.put(keyOf(job.id), JSON.stringify(job), '', KEPT_SECONDS)
    return job
  }

  /** Rejects with `StoreError`. */
  async find(id: string): Promise<SubmittedJob | undefined> {
    const record = await this.#options.records.get(keyOf(id))
    return record && (JSON.parse(record.value) as SubmittedJob)
  }

  /**
   * Records the end of a job. Never rejects: if the end is lost, the result can still be looked up.
   */
  end(job: SubmittedJob, end: JobEnd): Promise<void> {
    const written = this.#write({ ...job, end }).catch(error => this.#options.observer.storeFailed(error, 'jobs: end'))
    this.#ending.add(written)
    void written.finally(() => this.#ending.delete(written))
    return written
  }

  /** Resolves once all writes have ended. */
  async idle(): Promise<void> {
    await Promise.all(this.#ending)
  }

  async #write(job: SubmittedJob): Promise<void> {
    const { records } = this.#options
    const record = await records.get(keyOf(job.id))
    if (record) await records.put(keyOf(job.id), JSON.stringify(job), record.version, KEPT_SECONDS)
  }
}

function keyOf(id: string): string {
  return `job:${id}`
}
