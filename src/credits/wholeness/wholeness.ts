import { defined } from '../../contracts/defined.js'
import type { LedgerState } from '../../contracts/ledger.js'
import type { BudgetWindows, LedgerLoss, LedgerStore, LedgerTotals, LedgerWitness } from '../../contracts/store.js'
import { createBudgetCalendar } from '../windows.js'
import { Retention, type RetentionObserver } from './retention.js'
import { Verifier, type VerifierOptions } from './verifier.js'
import { type WitnessFile, type WitnessPlace, witnessFile } from './witness-file.js'

/** Called in each process that notices the change. */
export interface WholenessObserver extends RetentionObserver {
  /** `ledger-witness.json` is about another store. Called at the start. */
  witnessIgnored(): void
  /** The state has changed, or is not `ok` at the start. */
  ledgerStateChanged(state: LedgerState, loss: LedgerLoss | undefined): void
}

export interface WholenessOptions extends VerifierOptions, WitnessPlace {
  store: VerifierOptions['store'] & { ledger: LedgerStore; mayEvict(): boolean }
  observer: WholenessObserver
  /** Interval of the checks, milliseconds. Default: 5 s. */
  everyMs?: number
  /** `LEDGER_RETENTION_DAYS`; 0 keeps every entry. */
  retentionDays: number
  /** `BUDGET_TIMEZONE`. */
  timeZone: string
  /** Interval of the roll-up, milliseconds. Default: 1 h. */
  rollUpEveryMs?: number
}

const EVERY_MS = 5_000

/** Starts to watch and to verify the ledger. Resolves after the first check. */
export async function openWholeness(options: WholenessOptions): Promise<Wholeness> {
  const wholeness = new Wholeness(options)
  await wholeness.start()
  return wholeness
}

/**
 * Remembers the latest state of the ledger that this process has seen, and has the store compare it
 * with every reservation. A ledger that is behind is lost, until an operator accepts it. Also verifies
 * the ledger and rolls up its old days.
 */
export class Wholeness {
  readonly #options: WholenessOptions
  readonly #file: WitnessFile
  readonly #verifier: Verifier
  readonly #retention: Retention
  #witness: LedgerWitness | undefined
  #loss: LedgerLoss | undefined
  /** Day and month of the last reservation. */
  #windows: BudgetWindows | undefined
  #reportedState: LedgerState = 'ok'
  #timer: NodeJS.Timeout | undefined
  #checking: Promise<void> | undefined
  /** The ledger, observed and compared. */
  readonly ledger: LedgerStore

  constructor(options: WholenessOptions) {
    this.#options = options
    this.#verifier = new Verifier(options)
    const calendar = createBudgetCalendar(options.timeZone)
    this.#retention = new Retention({ ...options, calendar, isWhole: () => this.state === 'ok' })
    this.#file = witnessFile(options)
    if (this.#file.isOfAnotherStore()) options.observer.witnessIgnored()
    this.#witness = this.#file.read()
    this.ledger = this.#observed(options.store.ledger)
  }

  get state(): LedgerState {
    return this.#loss ? 'lost' : this.#options.store.mayEvict() ? 'evictable' : 'ok'
  }

  get loss(): LedgerLoss | undefined {
    return this.#loss
  }

  /** Checks now and then at every interval. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.check(), this.#options.everyMs ?? EVERY_MS).unref()
    this.#verifier.start()
    this.#retention.start()
    await this.check()
  }

  /** Reads the ledger and compares it, also while no calls are made. Never rejects. */
  check(): Promise<void> {
    this.#checking ??= this.ledger
      .totals()
      .then(
        () => this.#save(),
        error => this.#options.observer.storeFailed(error, 'ledger: check'),
      )
      .finally(() => {
        this.#reportChange()
        this.#checking = undefined
      })
    return this.#checking
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([this.#checking, this.#verifier.close(), this.#retention.close()])
    this.#save()
  }

  #save(): void {
    if (this.#witness) this.#file.write(this.#witness)
  }

  #observed(store: LedgerStore): LedgerStore {
    return {
      ...store,
      reserve: async (call, limits) => {
        const witness = this.#witness
        this.#windows = { day: call.day, month: call.month }
        const outcome = await store.reserve(call, limits, witness)
        this.#observe(outcome.totals, { witness })
        return outcome
      },
      settle: async (call, settled) => {
        const witness = this.#witness
        const totals = await store.settle(call, settled, witness)
        this.#observe(totals, { witness })
        return totals
      },
      totals: async () => {
        const witness = this.#witness
        const totals = await store.totals(witness, { isMarking: true, ...defined({ windows: this.#windows }) })
        this.#observe(totals, { witness })
        return totals
      },
    }
  }

  /** `compared`: what the store has compared the totals with. */
  #observe({ epoch, sequence, checksum, loss }: LedgerTotals, compared: { witness: LedgerWitness | undefined }): void {
    const known = this.#witness
    this.#loss = loss
    // The state before the loss stays, as evidence.
    if (!loss && epoch !== '') {
      const isLater = !known || (known.epoch === epoch && known.sequence < sequence)
      const isAccepted = known && known.epoch !== epoch && compared.witness === known
      if (isLater || isAccepted) this.#witness = { epoch, sequence, checksum }
    }
    this.#reportChange()
  }

  #reportChange(): void {
    const { state } = this
    if (state === this.#reportedState) return
    this.#reportedState = state
    this.#options.observer.ledgerStateChanged(state, this.#loss)
  }
}
