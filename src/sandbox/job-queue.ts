import { randomBytes } from 'node:crypto'
import type { Nanocredits } from '../contracts/nanocredits.js'
import { costOf } from './account.js'
import { INVALID_JPEG, type SandboxContext, segment } from './context.js'
import { ExpiringMap } from './expiring-map.js'
import type { SegmentInput } from './segment-input.js'
import type { Outcome } from './segmenter.js'

export type JobState = { status: 'QUEUED' | 'PROCESSING' } | CompletedJob | FailedJob

export interface CompletedJob {
  status: 'COMPLETED'
  outputId: string
  width: number
  height: number
  cost: Nanocredits
  /** Balance after the charge. */
  remaining: Nanocredits
  times: JobTimes
}

export interface FailedJob {
  status: 'FAILED'
  error: string
  times: JobTimes
}

export interface JobTimes {
  queuedMs: number
  inferenceMs: number
}

/** A picture at a public URL. */
export interface JobOutput {
  jpeg: Buffer
  /** Each download is cut in the middle. */
  isCut: boolean
}

export interface JobLimits {
  /** Jobs in `PROCESSING`. The others are queued. */
  concurrency: number
  /** Unfinished jobs. */
  maxOpen: number
  /** Image bytes of unfinished jobs. */
  maxOpenBytes: number
  /** Records of finished jobs. */
  maxFinished: number
  maxOutputBytes: number
  /** Lifetime of records and outputs after the end of the job. */
  ttlMs: number
}

const MIB = 1024 * 1024
const LIMITS: JobLimits = {
  concurrency: 16,
  maxOpen: 1000,
  maxOpenBytes: 256 * MIB,
  maxFinished: 10_000,
  maxOutputBytes: 256 * MIB,
  ttlMs: 3_600_000,
}

interface OpenJob {
  id: string
  input: SegmentInput
  queuedAt: number
  startedAt?: number
}

/** Jobs of the v2 API. Runs them in the order of submission and keeps their results for an hour. */
export class JobQueue {
  readonly #context: SandboxContext
  readonly #limits: JobLimits
  /** Oldest first. */
  readonly #open = new Map<string, OpenJob>()
  readonly #queue: OpenJob[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #finished: ExpiringMap<CompletedJob | FailedJob>
  readonly #outputs: ExpiringMap<JobOutput>
  #openBytes = 0

  constructor(context: SandboxContext, overrides: Partial<JobLimits> = {}) {
    const limits = { ...LIMITS, ...overrides }
    const { ttlMs, maxFinished, maxOutputBytes } = limits
    this.#context = context
    this.#limits = limits
    this.#finished = new ExpiringMap({ ttlMs, maxEntries: maxFinished }, context.now)
    this.#outputs = new ExpiringMap({ ttlMs, maxEntries: maxFinished, maxBytes: maxOutputBytes }, context.now)
  }

  /**
   * Accepts a job and reserves credits for it. Completion charges the job, failure releases them.
   * `full`: too many jobs or bytes are open. `no_credits`: the balance is too low.
   */
  submit(input: SegmentInput): { id: string } | { rejected: 'full' | 'no_credits' } {
    const { maxOpen, maxOpenBytes } = this.#limits
    if (this.#open.size >= maxOpen || this.#openBytes + input.image.length > maxOpenBytes) return { rejected: 'full' }
    if (!this.#context.account.reserve()) return { rejected: 'no_credits' }
    const job: OpenJob = { id: randomId(), input, queuedAt: this.#context.now() }
    this.#open.set(job.id, job)
    this.#openBytes += input.image.length
    this.#queue.push(job)
    this.#startNext()
    return { id: job.id }
  }

  /** Returns `undefined` for an unknown or expired id. */
  find(id: string): JobState | undefined {
    const job = this.#open.get(id)
    if (job) return { status: job.startedAt === undefined ? 'QUEUED' : 'PROCESSING' }
    return this.#finished.get(id)
  }

  output(id: string): JobOutput | undefined {
    return this.#outputs.get(id)
  }

  /**
   * Resolves when no job is open. After the context and the segmenter have closed, open jobs fail
   * promptly.
   */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #startNext(): void {
    while (this.#running.size < this.#limits.concurrency) {
      const job = this.#queue.shift()
      if (!job) return
      const run: Promise<void> = this.#run(job).finally(() => {
        this.#running.delete(run)
        this.#startNext()
      })
      this.#running.add(run)
    }
  }

  async #run(job: OpenJob): Promise<void> {
    const startedAt = this.#context.now()
    job.startedAt = startedAt
    const outcome = await this.#segment(job.input)
    const times = { queuedMs: startedAt - job.queuedAt, inferenceMs: this.#context.now() - startedAt }
    this.#open.delete(job.id)
    this.#openBytes -= job.input.image.length
    const end = this.#finish(job.input, outcome)
    this.#finished.set(job.id, { ...end, times })
    const bill = end.status === 'COMPLETED' ? { cost: end.cost, outputId: end.outputId } : {}
    this.#context.requests.add({ id: job.id, startedAt, row: job.input.triggers.row, ...bill })
  }

  async #segment(input: SegmentInput): Promise<Outcome> {
    const { wait, closing } = this.#context
    if (input.triggers.delayMs && !closing.aborted) await wait(input.triggers.delayMs, closing)
    return closing.aborted ? { kind: 'failed' } : segment(this.#context, input)
  }

  #finish(input: SegmentInput, outcome: Outcome): Omit<CompletedJob, 'times'> | Omit<FailedJob, 'times'> {
    const { account } = this.#context
    if (outcome.kind !== 'answered') {
      account.release()
      return { status: 'FAILED', error: outcome.kind === 'refused' ? outcome.message : 'Internal Polling Error' }
    }
    const cost = costOf(input.image, input.question)
    account.charge(cost)
    const outputId = randomId()
    const { width, height } = outcome
    const jpeg = input.triggers.format === 'garbage' ? INVALID_JPEG : Buffer.from(outcome.jpeg)
    this.#outputs.set(outputId, { jpeg, isCut: input.triggers.disruption === 'cut' }, jpeg.length)
    return { status: 'COMPLETED', outputId, width, height, cost, remaining: account.balance }
  }
}

function randomId(): string {
  return randomBytes(16).toString('hex')
}
