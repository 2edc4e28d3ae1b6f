import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Question, SegmentedPhoto } from './vision/segment-photo.js'

/**
 * Result of a segmentation. `refused`: the photo or a point is invalid, for the reason in
 * `message`. `failed`: the thread crashed, or the segmenter was closed.
 */
export type Outcome =
  | ({ kind: 'answered' } & SegmentedPhoto)
  | { kind: 'refused'; message: string }
  | { kind: 'failed' }

export interface Segmenter {
  /** Never rejects. */
  segment(question: Question): Promise<Outcome>
  close(): Promise<void>
}

interface PendingQuestion {
  question: Question
  resolve: (outcome: Outcome) => void
}

const CLOSE_TIMEOUT_MS = 10_000

/**
 * Segments photos in a worker thread, one at a time. If a photo crashes the thread, only that photo
 * fails, and the next one gets a new thread. The first photo starts the thread. The thread keeps
 * the process alive only during a segmentation.
 */
export class WorkerSegmenter implements Segmenter {
  readonly #workerUrl: URL
  readonly #queue: PendingQuestion[] = []
  #running: PendingQuestion | undefined
  #worker: Worker | undefined
  #closed = false

  constructor(workerUrl: URL = new URL('./segmenter-worker.js', import.meta.url)) {
    this.#workerUrl = workerUrl
  }

  segment(question: Question): Promise<Outcome> {
    return new Promise(resolve => {
      this.#queue.push({ question, resolve })
      this.#startNext()
    })
  }

  /** Finishes the running segmentation, fails the queued ones, and ends the thread. */
  async close(): Promise<void> {
    this.#closed = true
    this.#startNext()
    const worker = this.#worker
    if (!worker) return
    this.#worker = undefined
    worker.ref()
    worker.postMessage(undefined)
    const timer = setTimeout(() => void worker.terminate(), CLOSE_TIMEOUT_MS)
    await once(worker, 'exit')
    clearTimeout(timer)
  }

  #startNext(): void {
    if (this.#closed) {
      for (const { resolve } of this.#queue.splice(0)) resolve({ kind: 'failed' })
      return
    }
    if (this.#running) return
    this.#running = this.#queue.shift()
    if (!this.#running) return
    this.#worker ??= this.#startWorker()
    this.#worker.ref()
    this.#worker.postMessage(this.#running.question)
  }

  #startWorker(): Worker {
    const worker = new Worker(this.#workerUrl, { execArgv: [] })
    worker.on('message', (outcome: Outcome) => this.#finish(outcome))
    worker.on('error', () => undefined)
    worker.on('exit', () => {
      this.#worker = undefined
      this.#finish({ kind: 'failed' })
    })
    return worker
  }

  #finish(outcome: Outcome): void {
    const finished = this.#running
    this.#running = undefined
    this.#worker?.unref()
    finished?.resolve(outcome)
    this.#startNext()
  }
}
