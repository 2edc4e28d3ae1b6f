import type { Clock } from '../contracts/clock.js'
import type {
  NewScheduleEntry,
  ScheduleChange,
  ScheduleLimits,
  ScheduleStore,
  ScheduleView,
} from '../contracts/schedule.js'

export interface ScheduleLinkOptions {
  process: string
  /** Absent where the process has a schedule of its own. */
  shared?: ScheduleStore | undefined
  /** Used while the shared schedule does not answer. */
  local: ScheduleStore
  limits: ScheduleLimits
  /** Interval of the steps by which a process keeps its entries. */
  heartbeatMs: number
  /** The entries of this process, with `isRunning` on those that have a slot. */
  entries(): NewScheduleEntry[]
  /** Called after every step. */
  onView(view: ScheduleView): void
  onStoreFailed(error: unknown): void
  /** Monotonic, milliseconds. */
  now: Clock
}

/** Time for which a process that is alone keeps the end of an entry, for the step of the next entry. */
const DEFER_MS = 100

/**
 * Keeps the entries of this process in the shared schedule, or in its own one while the shared one
 * does not answer. Sends one step at a time; changes made meanwhile share the next one.
 */
export class ScheduleLink {
  readonly #options: ScheduleLinkOptions
  #enter = new Map<number, NewScheduleEntry>()
  #leave = new Map<number, number | undefined>()
  #throttled: ScheduleChange['throttled']
  /** Entries that the store has lost. They are sent again with the next step. */
  #lost = new Set<number>()
  #isDue = false
  /** True if the latest step showed no other process. */
  #isAlone = false
  #running: Promise<void> | undefined
  /** The step that was sent and has not ended. */
  #step: Promise<unknown> | undefined
  #isLocal: boolean
  #sharedRetryAt = 0
  #nextStepAt = 0
  #timer: NodeJS.Timeout | undefined
  #stopWatching: (() => void) | undefined
  #isClosed = false

  constructor(options: ScheduleLinkOptions) {
    this.#options = options
    this.#isLocal = options.shared === undefined
  }

  enter(entry: NewScheduleEntry): void {
    this.#enter.set(entry.id, entry)
    this.#run()
  }

  leave(id: number, usedMs?: number): void {
    const isPlanned = this.#leave.size > 0
    // An entry that was never sent need not leave.
    if (!this.#enter.delete(id)) this.#leave.set(id, usedMs)
    if (!this.#isDeferrable()) this.#run()
    else if (!isPlanned) this.#planWake()
  }

  #isDeferrable(): boolean {
    if (!this.#isAlone || this.#isClosed || this.#running) return false
    return this.#options.entries().every(({ isRunning }) => isRunning)
  }

  /** Tells whether an entry was added after the latest step was sent. */
  isPending(id: number): boolean {
    return this.#enter.has(id)
  }

  throttled(waitMs: number | undefined): void {
    this.#throttled = waitMs === undefined ? {} : { waitMs }
    this.#run()
  }

  /** Returns the view that would follow if `entry` were added now. Falls back like a step. */
  async forecast(entry: NewScheduleEntry): Promise<ScheduleView> {
    const { shared, local, limits, process } = this.#options
    await this.#step
    const change = { process, enter: [entry], leave: this.#leaving() }
    if (!shared || this.#isLocal) return local.forecast(change, limits)
    return shared.forecast(change, limits).catch(error => {
      this.#options.onStoreFailed(error)
      return local.forecast(change, limits)
    })
  }

  /** Sends what is left, and stops. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#stopWatching?.()
    if (this.#hasChanges()) this.#run()
    await this.#running
  }

  #run(): void {
    this.#running ??= this.#runSteps().finally(() => {
      this.#running = undefined
      // A change may have come after the last step had ended.
      if (this.#hasChanges()) this.#run()
      else this.#planWake()
    })
  }

  #hasChanges(): boolean {
    return this.#enter.size > 0 || this.#leave.size > 0 || this.#throttled !== undefined || this.#isDue
  }

  async #runSteps(): Promise<void> {
    // Later, so that changes made at the same moment share the step.
    await undefined
    while (this.#hasChanges()) {
      this.#isDue = false
      const change = this.#takeChange()
      const step = this.#stepShared(change).then(view => view ?? this.#stepLocal(change))
      this.#step = step
      this.#apply(await step)
      this.#step = undefined
    }
  }

  #takeChange(): ScheduleChange {
    const { process, entries } = this.#options
    const isLost = ({ id }: NewScheduleEntry) => this.#lost.has(id) && !this.#enter.has(id)
    const lost = this.#lost.size === 0 ? [] : entries().filter(isLost)
    const change: ScheduleChange = {
      process,
      enter: [...this.#enter.values(), ...lost],
      leave: this.#leaving(),
      ...(this.#throttled && { throttled: this.#throttled }),
    }
    this.#enter.clear()
    this.#leave.clear()
    this.#lost.clear()
    this.#throttled = undefined
    return change
  }

  #leaving(): ScheduleChange['leave'] {
    return [...this.#leave].map(([id, usedMs]) => (usedMs === undefined ? { id } : { id, usedMs }))
  }

  /** Returns undefined while the shared schedule does not answer. */
  async #stepShared(change: ScheduleChange): Promise<ScheduleView | undefined> {
    const { shared, local, limits, entries, now, onStoreFailed } = this.#options
    if (!shared || (this.#isLocal && now() < this.#sharedRetryAt)) return undefined
    const wasLocal = this.#isLocal
    try {
      const view = await shared.step(wasLocal ? this.#withAll(change, entries()) : change, limits)
      if (wasLocal) {
        this.#isLocal = false
        await local.step({ process: change.process, enter: [], leave: entries() }, limits)
      }
      return view
    } catch (error) {
      onStoreFailed(error)
      this.#isLocal = true
      this.#sharedRetryAt = now() + this.#options.heartbeatMs
      return wasLocal ? undefined : local.step(this.#withAll(change, entries()), limits)
    }
  }

  #stepLocal(change: ScheduleChange): Promise<ScheduleView> {
    return this.#options.local.step(change, this.#options.limits)
  }

  #withAll(change: ScheduleChange, entries: NewScheduleEntry[]): ScheduleChange {
    const all = new Map([...change.enter, ...entries].map(entry => [entry.id, entry]))
    return { ...change, enter: [...all.values()] }
  }

  #apply(view: ScheduleView): void {
    const { entries, onView, shared, process, heartbeatMs, now } = this.#options
    this.#isAlone = !view.isShared && !this.#isLocal
    onView(view)
    const own = new Set<number>()
    let isWaiting = false
    for (const { id, isRunning } of entries()) {
      own.add(id)
      isWaiting ||= !isRunning
      const state = view.own.get(id)
      if (!this.isPending(id) && (state === undefined || (isRunning && state === 'waiting'))) this.#lost.add(id)
    }
    // Entries of a step whose answer was lost, and those that ended during an outage.
    for (const id of view.own.keys())
      if (!own.has(id) && view.own.get(id) !== 'dropped' && !this.#leave.has(id)) this.#leave.set(id, undefined)
    if (isWaiting) this.#stopWatching ??= shared?.watch(process, () => this.#wake())
    const pacedMs = isWaiting && view.pacedMs > 0 ? view.pacedMs : heartbeatMs
    this.#nextStepAt = now() + Math.min(heartbeatMs, pacedMs)
  }

  #wake(): void {
    this.#isDue = true
    this.#run()
  }

  #planWake(): void {
    clearTimeout(this.#timer)
    const { shared, now } = this.#options
    const entries = this.#options.entries()
    // Without entries, a process still returns to the shared schedule, where it may have left some.
    const mayReturn = this.#isLocal && shared !== undefined
    const isLeaving = this.#leave.size > 0
    if (this.#isClosed || (entries.length === 0 && !mayReturn && !isLeaving)) return
    const leftMs = isLeaving ? DEFER_MS : Math.max(1, this.#nextStepAt - now())
    const isWaiting = entries.some(({ isRunning }) => !isRunning)
    const pollMs = isWaiting && !this.#isLocal ? (shared?.pollMs ?? leftMs) : leftMs
    this.#timer = setTimeout(() => void this.#onTimer(), Math.min(leftMs, pollMs)).unref()
  }

  /** Steps when that is due, or when a poll shows that a step would change an own entry. */
  async #onTimer(): Promise<void> {
    const { shared, limits, process, entries, now } = this.#options
    if (now() >= this.#nextStepAt || !shared || this.#leave.size > 0) return this.#wake()
    const view = await shared.forecast({ process, enter: [], leave: [] }, limits).catch(() => undefined)
    const isChanged = entries().some(({ id, isRunning }) => !isRunning && view?.own.get(id) !== 'waiting')
    if (isChanged) this.#wake()
    else if (!this.#running) this.#planWake()
  }
}
