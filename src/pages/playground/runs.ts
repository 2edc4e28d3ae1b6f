import { GatewayProblem, type RequestOptions } from '../../client/index.js'
import { ProgressBar } from './progress-bar.js'

/** A picture being sent, a question being asked, a file being fetched: of each kind one at a time. */
export type RunKind = 'hold' | 'ask' | 'rle'

export interface RunEvents {
  /** Something has begun or ended. */
  changed(): void
  failed(problem: GatewayProblem, kind: RunKind): void
}

/** What takes its time: shown while it goes on, ended when the user wishes so. */
export class Runs {
  readonly #events: RunEvents
  readonly #progress = new ProgressBar()
  readonly #running = new Map<RunKind, AbortController>()

  constructor(events: RunEvents) {
    this.#events = events
  }

  isOn(kind: RunKind): boolean {
    return this.#running.has(kind)
  }

  get isBusy(): boolean {
    return this.#running.size > 0
  }

  /** Ends those of these kinds that are going on. */
  abort(...kinds: RunKind[]): void {
    for (const kind of kinds) this.#running.get(kind)?.abort()
  }

  /** What `work` answers; undefined when it failed, which is told, or was ended. */
  async run<T>(kind: RunKind, work: (how: RequestOptions) => Promise<T>, aside = ''): Promise<T | undefined> {
    this.abort(kind)
    const controller = new AbortController()
    const { signal } = controller
    this.#running.set(kind, controller)
    const onProgress = this.#progress.begin(aside)
    this.#events.changed()
    try {
      const answer = await work({ signal, onProgress: progress => !signal.aborted && onProgress(progress) })
      return signal.aborted ? undefined : answer
    } catch (error) {
      if (signal.aborted) return undefined
      if (!(error instanceof GatewayProblem)) throw error
      this.#events.failed(error, kind)
      return undefined
    } finally {
      this.#ended(kind, controller)
    }
  }

  #ended(kind: RunKind, controller: AbortController): void {
    // Another one of the kind may have begun.
    if (this.#running.get(kind) === controller) this.#running.delete(kind)
    if (!this.isBusy) this.#progress.end()
    this.#events.changed()
  }
}
