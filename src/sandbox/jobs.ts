import { randomBytes } from 'node:crypto'
import type { Nanocredits } from '../nanocredits.js'
import { costOf } from './account.js'
import { type Desk, NO_PICTURE, segment } from './desk.js'
import type { Order } from './order.js'
import type { Outcome } from './segmenter.js'
import { Shelf } from './shelf.js'

/** How a job is getting on. */
export type JobSight = { status: 'QUEUED' | 'PROCESSING' } | Completed | Failed

export interface Completed {
  status: 'COMPLETED'
  outputId: string
  width: number
  height: number
  cost: Nanocredits
  /** What the account held after the bill. */
  remaining: Nanocredits
  times: Times
}

export interface Failed {
  status: 'FAILED'
  error: string
  times: Times
}

export interface Times {
  queuedMs: number
  inferenceMs: number
}

/** A picture at a public address. */
export interface Output {
  jpeg: Buffer
  /** Each download breaks off. */
  cut: boolean
}

export interface JobLimits {
  /** Jobs that are worked on at a time; the others are queued. */
  atOnce: number
  /** Jobs that have not ended. */
  open: number
  /** Of the images of jobs that have not ended. */
  openBytes: number
  /** Records of jobs that have ended. */
  ended: number
  outputBytes: number
  /** How long records and outputs are kept after the job ended. */
  keepMs: number
}

const MB = 1024 * 1024
const LIMITS: JobLimits = {
  atOnce: 16,
  open: 1000,
  openBytes: 256 * MB,
  ended: 10_000,
  outputBytes: 256 * MB,
  keepMs: 3_600_000,
}

interface OpenJob {
  id: string
  order: Order
  queuedAt: number
  startedAt?: number
}

/** The jobs of the v2 API: taken at once, worked on in order, remembered for an hour after they ended. */
export class Jobs {
  readonly #desk: Desk
  readonly #limits: JobLimits
  /** Oldest first. */
  readonly #open = new Map<string, OpenJob>()
  readonly #queue: OpenJob[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #ended: Shelf<Completed | Failed>
  readonly #outputs: Shelf<Output>
  #openBytes = 0

  constructor(desk: Desk, limits: Partial<JobLimits> = {}) {
    const all = { ...LIMITS, ...limits }
    this.#desk = desk
    this.#limits = all
    this.#ended = new Shelf({ keepMs: all.keepMs, things: all.ended }, desk.now)
    this.#outputs = new Shelf({ keepMs: all.keepMs, things: all.ended, bytes: all.outputBytes }, desk.now)
  }

  /** Takes a job and holds credits for it, which it is billed when it completes. `full`: too much is open. `spent`: too few credits are left. */
  submit(order: Order): { id: string } | { refused: 'full' | 'spent' } {
    const { open, openBytes } = this.#limits
    if (this.#open.size >= open || this.#openBytes + order.image.length > openBytes) return { refused: 'full' }
    if (!this.#desk.account.hold()) return { refused: 'spent' }
    const job: OpenJob = { id: unguessable(), order, queuedAt: this.#desk.now() }
    this.#open.set(job.id, job)
    this.#openBytes += order.image.length
    this.#queue.push(job)
    this.#next()
    return { id: job.id }
  }

  /** `undefined`: never heard of, or forgotten. */
  look(id: string): JobSight | undefined {
    const job = this.#open.get(id)
    if (job) return { status: job.startedAt === undefined ? 'QUEUED' : 'PROCESSING' }
    return this.#ended.get(id)
  }

  output(id: string): Output | undefined {
    return this.#outputs.get(id)
  }

  /** Resolves when no job is open; comes soon once the desk closes and the segmenter is closed, since then jobs fail. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #next(): void {
    while (this.#running.size < this.#limits.atOnce) {
      const job = this.#queue.shift()
      if (!job) return
      const run: Promise<void> = this.#run(job).finally(() => {
        this.#running.delete(run)
        this.#next()
      })
      this.#running.add(run)
    }
  }

  async #run(job: OpenJob): Promise<void> {
    const startedAt = this.#desk.now()
    job.startedAt = startedAt
    const outcome = await this.#work(job.order)
    const times = { queuedMs: startedAt - job.queuedAt, inferenceMs: this.#desk.now() - startedAt }
    this.#open.delete(job.id)
    this.#openBytes -= job.order.image.length
    this.#ended.put(job.id, { ...this.#conclude(job.order, outcome), times })
  }

  async #work(order: Order): Promise<Outcome> {
    const { wait, closing } = this.#desk
    if (order.triggers.delayMs && !closing.aborted) await wait(order.triggers.delayMs, closing)
    return closing.aborted ? { kind: 'failed' } : segment(this.#desk, order)
  }

  #conclude(order: Order, outcome: Outcome): Omit<Completed, 'times'> | Omit<Failed, 'times'> {
    const { account } = this.#desk
    if (outcome.kind !== 'answered') {
      account.release()
      return { status: 'FAILED', error: outcome.kind === 'refused' ? outcome.message : 'Internal Polling Error' }
    }
    const cost = costOf(order.image, order.question)
    account.bill(cost)
    const outputId = unguessable()
    const { width, height } = outcome
    const jpeg = order.triggers.form === 'garbage' ? NO_PICTURE : Buffer.from(outcome.jpeg)
    this.#outputs.put(outputId, { jpeg, cut: order.triggers.fate === 'cut' }, jpeg.length)
    return { status: 'COMPLETED', outputId, width, height, cost, remaining: account.balance }
  }
}

function unguessable(): string {
  return randomBytes(16).toString('hex')
}
