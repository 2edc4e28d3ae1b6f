import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Answer, Question } from './vision/segment-photo.js'

export type Job = Question

/** What came of a job: a picture, a refusal that names what is wrong with the photo, or nothing because the thread died or was closed. */
export type Outcome = ({ kind: 'answered' } & Answer) | { kind: 'refused'; message: string } | { kind: 'failed' }

interface Waiting {
  job: Job
  finish: (outcome: Outcome) => void
}

const PATIENCE_MS = 10_000

/**
 * Segments photos in a worker thread, one after the other. A photo that kills the thread fails alone: the next job gets a new thread.
 * The thread starts with the first job and keeps the process alive only while it works.
 */
export class Segmenter {
  readonly #workerUrl: URL
  readonly #queue: Waiting[] = []
  #running: Waiting | undefined
  #worker: Worker | undefined
  #closed = false

  constructor(workerUrl: URL = new URL('./segmenter-worker.js', import.meta.url)) {
    this.#workerUrl = workerUrl
  }

  /** Never rejects. */
  segment(job: Job): Promise<Outcome> {
    return new Promise(finish => {
      this.#queue.push({ job, finish })
      this.#next()
    })
  }

  /** Lets the running job end, answers `failed` to those that wait, ends the thread. */
  async close(): Promise<void> {
    this.#closed = true
    this.#next()
    const worker = this.#worker
    if (!worker) return
    this.#worker = undefined
    worker.ref()
    worker.postMessage(undefined)
    const timer = setTimeout(() => void worker.terminate(), PATIENCE_MS)
    await once(worker, 'exit')
    clearTimeout(timer)
  }

  #next(): void {
    if (this.#closed) {
      for (const { finish } of this.#queue.splice(0)) finish({ kind: 'failed' })
      return
    }
    if (this.#running) return
    this.#running = this.#queue.shift()
    if (!this.#running) return
    this.#worker ??= this.#start()
    this.#worker.ref()
    this.#worker.postMessage(this.#running.job)
  }

  #start(): Worker {
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
    const done = this.#running
    this.#running = undefined
    this.#worker?.unref()
    done?.finish(outcome)
    this.#next()
  }
}
