import { type LedgerStep, type LedgerStore, type StepSpool, StoreError } from '../storage.js'
import { doStep } from './steps.js'

export interface UnsavedOptions {
  store: LedgerStore
  /** Where steps wait; several processes may write the same one to the store at once. */
  spool: StepSpool
  /** Whether what waits there outlives this process. */
  isSpoolDurable: boolean
  retryMs: number
  /** While it says no, nothing is tried. */
  isStoreUp(): boolean
  onFailure(error: unknown, doing: 'write again' | 'spool'): void
  /** Told of a step that is given up: the store, though it takes others, refuses it again and again. */
  onLost(step: LedgerStep, error: unknown): void
}

/** Steps that wait when the books are closed. */
export interface LeftSteps {
  /** On disk: whoever starts next on this machine, or runs there now, writes them. */
  kept: number
  /** In memory only, and so gone with the process. */
  lost: number
}

/** Steps as they wait; those that the spool did not take have no id. */
interface Waiting {
  id?: string
  step: LedgerStep
}

/** Times one step may be refused while the store takes others. */
const MAX_REFUSALS = 20

/**
 * Ledger steps waiting for a store that is down, written down in order and tried again until the store takes them. Those of one call
 * stay in order; those of different calls do not wait for each other.
 */
export class UnsavedSteps {
  readonly #options: UnsavedOptions
  readonly #timer: NodeJS.Timeout
  /** By call, what the spool did not take. */
  readonly #inMemory = new Map<string, LedgerStep[]>()
  readonly #refusals = new Map<string | LedgerStep, number>()
  #spooled = 0
  #flushing: Promise<void> | undefined
  #nextFlush: Promise<void> | undefined

  constructor(options: UnsavedOptions) {
    this.#options = options
    this.#timer = setInterval(() => {
      if (options.isStoreUp() && !this.#flushing) void this.flush()
    }, options.retryMs).unref()
  }

  /** How many wait, as far as this process has seen. */
  get size(): number {
    return this.#spooled + this.#stepsInMemory().length
  }

  /** How many of them end with the process. */
  get unsafe(): number {
    return this.#options.isSpoolDurable ? this.#stepsInMemory().length : this.size
  }

  /** Resolves when the step is as safe as it can be: on disk, else in memory. Never rejects. */
  async add(step: LedgerStep): Promise<void> {
    const { callId } = step.call
    const before = this.#inMemory.get(callId)
    // Once one is in memory, the others of its call line up behind it: in the spool they would overtake it.
    if (before) return void before.push(step)
    try {
      await this.#options.spool.add(step)
      this.#spooled++
    } catch (error) {
      this.#options.onFailure(error, 'spool')
      this.#inMemory.set(callId, [...(this.#inMemory.get(callId) ?? []), step])
    }
  }

  /** The calls that have steps waiting. Never rejects. */
  async callIds(): Promise<ReadonlySet<string>> {
    return new Set((await this.#all()).map(({ step }) => step.call.callId))
  }

  /** Tries everything once that was added before; what an earlier process has left too. Never rejects. */
  flush(): Promise<void> {
    if (!this.#flushing) return this.#flush()
    // The one under way may have looked at the spool too early.
    this.#nextFlush ??= this.#flushing.then(() => {
      this.#nextFlush = undefined
      return this.#flushing ?? this.#flush()
    })
    return this.#nextFlush
  }

  /** Tries once more, and answers what waits even so. */
  async close(): Promise<LeftSteps> {
    clearInterval(this.#timer)
    await this.flush()
    const inMemory = this.#stepsInMemory().length
    const spooled = (await this.#all()).length - inMemory
    return this.#options.isSpoolDurable ? { kept: spooled, lost: inMemory } : { kept: 0, lost: inMemory + spooled }
  }

  #flush(): Promise<void> {
    this.#flushing = this.#run().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  async #run(): Promise<void> {
    const heldBack = new Set<string>()
    const taken = new Set<LedgerStep['kind']>()
    const refused: [Waiting, error: unknown][] = []
    for (const waiting of await this.#all()) {
      const { step } = waiting
      if (!this.#options.isStoreUp()) break
      if (heldBack.has(step.call.callId)) continue
      try {
        await doStep(this.#options.store, step)
        taken.add(step.kind)
        // A step that stays is done again, and must not be done after those that follow it.
        if (!(await this.#remove(waiting))) heldBack.add(step.call.callId)
      } catch (error) {
        heldBack.add(step.call.callId)
        this.#options.onFailure(error, 'write again')
        refused.push([waiting, error])
      }
    }
    if (!this.#options.isStoreUp()) return
    for (const [waiting, error] of refused) {
      // A store that is full or read-only refuses every step of a kind: that says nothing against one of them.
      if (!(error instanceof StoreError) || taken.has(waiting.step.kind)) await this.#countRefusal(waiting, error)
    }
  }

  async #countRefusal(waiting: Waiting, error: unknown): Promise<void> {
    const name = waiting.id ?? waiting.step
    const refusals = (this.#refusals.get(name) ?? 0) + 1
    this.#refusals.set(name, refusals)
    if (refusals >= MAX_REFUSALS && (await this.#remove(waiting))) this.#options.onLost(waiting.step, error)
  }

  /** In order. A spool that cannot be read holds up what waits in memory no longer. */
  async #all(): Promise<Waiting[]> {
    const inMemory = this.#stepsInMemory().map(step => ({ step }))
    try {
      const spooled = await this.#options.spool.all()
      this.#spooled = spooled.length
      return [...spooled, ...inMemory]
    } catch (error) {
      this.#options.onFailure(error, 'spool')
      return inMemory
    }
  }

  async #remove({ id, step }: Waiting): Promise<boolean> {
    this.#refusals.delete(id ?? step)
    if (id === undefined) {
      this.#forget(step)
      return true
    }
    try {
      await this.#options.spool.remove(id)
      this.#spooled = Math.max(0, this.#spooled - 1)
      return true
    } catch (error) {
      this.#options.onFailure(error, 'spool')
      return false
    }
  }

  #forget(step: LedgerStep): void {
    const { callId } = step.call
    const left = this.#inMemory.get(callId)?.filter(other => other !== step) ?? []
    if (left.length > 0) this.#inMemory.set(callId, left)
    else this.#inMemory.delete(callId)
  }

  #stepsInMemory(): LedgerStep[] {
    return [...this.#inMemory.values()].flat()
  }
}
