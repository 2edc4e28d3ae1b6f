export interface PeriodicRunOptions<T> {
  run(): Promise<T>
  everyMs: number
  /** Share by which the pause varies, so that replicas started together do not run together. Default: 0. */
  spread?: number
  /** Called for a run that rejected. Its result is that of the run. */
  onFailed(error: unknown): T
}

/** Runs an operation again and again, with a pause in between, one run at a time. */
export class PeriodicRun<T = void> {
  readonly #options: PeriodicRunOptions<T>
  #timer: NodeJS.Timeout | undefined
  #running: Promise<T> | undefined
  #isClosed = false

  constructor(options: PeriodicRunOptions<T>) {
    this.#options = options
  }

  /** True from `close`. A long run ends early then. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Runs at once, and then after every pause. */
  start(): void {
    void this.now().finally(() => this.startLater())
  }

  /** Runs after every pause. */
  startLater(): void {
    if (this.#isClosed) return
    const { everyMs, spread = 0 } = this.#options
    this.#timer = setTimeout(() => this.start(), everyMs * (1 + spread * (Math.random() - 0.5))).unref()
  }

  /** Runs now, or joins the current run. Never rejects. */
  now(): Promise<T> {
    const { run, onFailed } = this.#options
    this.#running ??= run()
      .catch(onFailed)
      .finally(() => {
        this.#running = undefined
      })
    return this.#running
  }

  /** Starts no further run, and waits for the current one. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#running
  }
}
