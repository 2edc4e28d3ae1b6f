import { type LedgerStep, type LedgerStore, type LedgerTotals, type StepSpool, StoreError } from '../contracts/store.js'
import type { CreditsObserver } from './observer.js'

export interface UnsavedOptions {
  store: LedgerStore
  /** Holds waiting steps. Several processes may write the same step to the store at once. */
  spool: StepSpool
  /** Spooled steps outlive this process. */
  isSpoolDurable: boolean
  retryMs: number
  /** While false, no step is written. */
  isStoreUp(): boolean
  observer: Pick<CreditsObserver, 'ledgerStepLost' | 'storeFailed'>
}

/** Steps still waiting at shutdown. */
export interface RemainingSteps {
  /** On disk. Any gateway process on this machine writes them, now or at its next start. */
  kept: number
  /** In memory only, so lost with the process. */
  lost: number
}

/** A waiting step. It has no id if the spool refused it. */
interface WaitingStep {
  id?: string
  step: LedgerStep
}

/** Refusals of one step, while the store accepts others, until the step is dropped. */
const MAX_REFUSALS = 20

/**
 * Spools ledger steps while the store is down, and retries them until the store accepts them. Steps
 * of one call stay in order. Steps of different calls do not wait for each other.
 */
export class UnsavedSteps {
  readonly #options: UnsavedOptions
  readonly #timer: NodeJS.Timeout
  /** Steps the spool refused, by call. */
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

  /** Number of waiting steps that this process knows of. */
  get size(): number {
    return this.#spooled + this.#stepsInMemory().length
  }

  /** Number of waiting steps that would be lost with the process. */
  get volatileSize(): number {
    return this.#options.isSpoolDurable ? this.#stepsInMemory().length : this.size
  }

  /**
   * Resolves once the step is spooled, or kept in memory if the spool refuses it. Never rejects.
   */
  async add(step: LedgerStep): Promise<void> {
    const { callId } = step.call
    const before = this.#inMemory.get(callId)
    // Once a step of a call is in memory, later ones queue behind it. In the spool they would
    // overtake it.
    if (before) return void before.push(step)
    try {
      await this.#options.spool.add(step)
      this.#spooled++
    } catch (error) {
      this.#options.observer.storeFailed(error, 'ledger: spool')
      this.#inMemory.set(callId, [...(this.#inMemory.get(callId) ?? []), step])
    }
  }

  /** Ids of the calls with waiting steps. Never rejects. */
  async callIds(): Promise<ReadonlySet<string>> {
    return new Set((await this.#all()).map(({ step }) => step.call.callId))
  }

  /**
   * Tries each step that was added before this call once, including steps of earlier processes.
   * Never rejects.
   */
  flush(): Promise<void> {
    if (!this.#flushing) return this.#flush()
    // The current flush may have read the spool before the latest step was added.
    this.#nextFlush ??= this.#flushing.then(() => {
      this.#nextFlush = undefined
      return this.#flushing ?? this.#flush()
    })
    return this.#nextFlush
  }

  /** Tries once more, and counts the steps that remain. */
  async close(): Promise<RemainingSteps> {
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
    const accepted = new Set<LedgerStep['kind']>()
    const refused: [WaitingStep, error: unknown][] = []
    for (const waiting of await this.#all()) {
      const { step } = waiting
      if (!this.#options.isStoreUp()) break
      if (heldBack.has(step.call.callId)) continue
      try {
        await applyStep(this.#options.store, step)
        accepted.add(step.kind)
        // A step that could not be removed is applied again, and must not be applied after its
        // successors.
        if (!(await this.#remove(waiting))) heldBack.add(step.call.callId)
      } catch (error) {
        heldBack.add(step.call.callId)
        this.#options.observer.storeFailed(error, 'ledger: write again')
        refused.push([waiting, error])
      }
    }
    if (!this.#options.isStoreUp()) return
    for (const [waiting, error] of refused) {
      // A full or read-only store refuses every step of a kind, which is no reason to drop a single
      // step.
      if (!(error instanceof StoreError) || error.isFinal || accepted.has(waiting.step.kind))
        await this.#countRefusal(waiting, error)
    }
  }

  async #countRefusal(waiting: WaitingStep, error: unknown): Promise<void> {
    const name = waiting.id ?? waiting.step
    const refusals = (this.#refusals.get(name) ?? 0) + 1
    this.#refusals.set(name, refusals)
    const isFinal = error instanceof StoreError && error.isFinal
    if ((refusals < MAX_REFUSALS && !isFinal) || !(await this.#remove(waiting))) return
    this.#options.observer.ledgerStepLost(waiting.step, error)
  }

  /**
   * Lists the waiting steps in order. A spool that cannot be read does not delay the steps in
   * memory.
   */
  async #all(): Promise<WaitingStep[]> {
    const inMemory = this.#stepsInMemory().map(step => ({ step }))
    try {
      const spooled = await this.#options.spool.all()
      this.#spooled = spooled.length
      return [...spooled, ...inMemory]
    } catch (error) {
      this.#options.observer.storeFailed(error, 'ledger: spool')
      return inMemory
    }
  }

  async #remove({ id, step }: WaitingStep): Promise<boolean> {
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
      this.#options.observer.storeFailed(error, 'ledger: spool')
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

/**
 * Applies one step to the store. Returns the totals after a settled call. Rejects as the store
 * does.
 */
export async function applyStep(store: LedgerStore, step: LedgerStep): Promise<LedgerTotals | undefined> {
  switch (step.kind) {
    // The call has been made, so no budget may refuse it. It may have been booked before.
    case 'reserve':
    case 'note':
      await store.note(step.call)
      return undefined
    case 'settle':
      return store.settle(step.call, step.settled)
    case 'release':
      await store.release(step.call, { mayStillArrive: step.mayStillArrive })
      return undefined
  }
}
