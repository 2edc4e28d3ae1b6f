import { GatewayProblem, type RequestOptions } from '../../../client/index.js'
import { ProgressBar } from './progress-bar.js'

/** At most one task of each kind runs. */
export type TaskKind = 'upload' | 'segment' | 'export'

export interface TaskEvents {
  /** A task started or ended. */
  changed(): void
  failed(problem: GatewayProblem, kind: TaskKind): void
}

/** Runs tasks, shows their progress and cancels them on request. */
export class Tasks {
  readonly #events: TaskEvents
  readonly #progress = new ProgressBar()
  readonly #running = new Map<TaskKind, AbortController>()

  constructor(events: TaskEvents) {
    this.#events = events
  }

  isRunning(kind: TaskKind): boolean {
    return this.#running.has(kind)
  }

  get isBusy(): boolean {
    return this.#running.size > 0
  }

  cancelAll(): void {
    for (const controller of this.#running.values()) controller.abort()
  }

  /** Runs a task. Resolves with undefined if it fails, which is reported, or is cancelled. */
  async run<T>(
    kind: TaskKind,
    task: (options: RequestOptions) => Promise<T>,
    waitingNote = '',
  ): Promise<T | undefined> {
    this.#running.get(kind)?.abort()
    const controller = new AbortController()
    const { signal } = controller
    this.#running.set(kind, controller)
    const onProgress = this.#progress.start(waitingNote)
    this.#events.changed()
    try {
      const outcome = await task({ signal, onProgress: progress => !signal.aborted && onProgress(progress) })
      return signal.aborted ? undefined : outcome
    } catch (error) {
      if (signal.aborted) return undefined
      if (!(error instanceof GatewayProblem)) throw error
      this.#events.failed(error, kind)
      return undefined
    } finally {
      this.#end(kind, controller)
    }
  }

  #end(kind: TaskKind, controller: AbortController): void {
    // Another task of this kind may have started meanwhile.
    if (this.#running.get(kind) === controller) this.#running.delete(kind)
    if (!this.isBusy) this.#progress.end()
    this.#events.changed()
  }
}
