import type { Nanocredits } from '../nanocredits.js'
import type { How } from '../segment/ports.js'
import type { LedgerEntry, LedgerStep, LedgerStore, StepSpool } from '../storage.js'
import { Allowance } from './allowance.js'
import { Balance } from './balance.js'
import { Journal } from './journal.js'
import { Ledger } from './ledger.js'
import { PriceEstimate } from './price.js'
import { type OrphanFate, Recovery } from './recovery.js'
import { type LeftSteps, UnsavedSteps } from './unsaved.js'
import { type BudgetCalendar, createBudgetCalendar } from './windows.js'

export interface AccountsOptions {
  store: LedgerStore
  isStoreUp(): boolean
  /** Where steps wait that the store cannot take; whoever opened it closes it, after the books. */
  spool: StepSpool
  /** Whether what waits there outlives this process. */
  isSpoolDurable: boolean
  /** How old a reserved entry has to be before nobody can own it any more, milliseconds. */
  orphanAfterMs: number
  /** How long it is remembered who shares a purchase, seconds. */
  shareSeconds: number
  /** `PRICE_ESTIMATE_CREDITS`, `BUDGET_TIMEZONE`, `BUDGET_FAIL`. */
  priceEstimate: Nanocredits
  timeZone: string
  whenStoreIsDown: 'closed' | 'open'
  /** Segmind's free balance endpoint. */
  askBalance(): Promise<Nanocredits>
  now(): number
  onBooked(team: string, outcome: 'charged' | 'unknown', cost: Nanocredits): void
  onAnswered(team: string, how: How, cost: Nanocredits): void
  onAskFailure(error: unknown): void
  onStoreFailure(error: unknown, doing: string): void
  /** Told of a ledger step that is given up: the store refuses it, though it takes others. */
  onStepLost(step: LedgerStep, error: unknown): void
  /** Told of every entry that is ended in place of a process that is gone. */
  onOrphan(entry: LedgerEntry, fate: OrphanFate): void
}

/** Everything about money, built once and belonging together. */
export interface Accounts {
  calendar: BudgetCalendar
  price: PriceEstimate
  balance: Balance
  unsaved: UnsavedSteps
  ledger: Ledger
  journal: Journal
  allowance: Allowance
  /** Begins to end what dead processes have left, once there is somebody who can poll a job: `resume` polls the entry's and ends the entry. */
  startRecovery(resume: (entry: LedgerEntry) => Promise<void>): Recovery
  /** Writes what is counted or could not be written before; answers the ledger steps that the store still did not take. */
  close(): Promise<LeftSteps>
}

const RETRY_MS = 1_000
const JOURNAL_MS = 1_000
const BALANCE_MS = 15_000
const SWEEP_MS = 15_000

/** Opens the books: asks for the balance at once and again whenever it has grown old, and writes what an earlier process could not. */
export function openAccounts(options: AccountsOptions): Accounts {
  const { store, now } = options
  const calendar = createBudgetCalendar(options.timeZone)
  const price = new PriceEstimate(options.priceEstimate)
  const balance = openBalance(options)
  const unsaved = openUnsaved(options)
  const allowance = new Allowance({ store, calendar, now, balance: () => balance.latest?.remaining })
  const journal = openJournal(options, calendar)
  const ledger = openLedger(options, { calendar, price, balance, unsaved, allowance })
  const timer = setInterval(() => void balance.refresh(), BALANCE_MS).unref()
  void balance.refresh()
  void unsaved.flush()
  let recovery: Recovery | undefined
  return {
    calendar,
    price,
    balance,
    unsaved,
    ledger,
    journal,
    allowance,
    startRecovery(resume) {
      void recovery?.close()
      recovery = openRecovery(options, { unsaved, ledger, allowance, resume })
      recovery.start()
      return recovery
    },
    async close() {
      clearInterval(timer)
      const [, left] = await Promise.all([journal.flush(), unsaved.close(), recovery?.close()])
      return left
    },
  }
}

function openUnsaved(options: AccountsOptions): UnsavedSteps {
  return new UnsavedSteps({
    store: options.store,
    spool: options.spool,
    isSpoolDurable: options.isSpoolDurable,
    retryMs: RETRY_MS,
    isStoreUp: options.isStoreUp,
    onFailure: (error, doing) => options.onStoreFailure(error, `ledger: ${doing}`),
    onLost: options.onStepLost,
  })
}

function openBalance(options: AccountsOptions): Balance {
  const { store, now } = options
  return new Balance({
    store,
    now,
    ask: options.askBalance,
    onAskFailure: options.onAskFailure,
    onShareFailure: error => options.onStoreFailure(error, 'balance: share'),
  })
}

function openJournal(options: AccountsOptions, calendar: BudgetCalendar): Journal {
  return new Journal({
    store: options.store,
    calendar,
    now: options.now,
    everyMs: JOURNAL_MS,
    shareSeconds: options.shareSeconds,
    onAnswered: options.onAnswered,
    onStoreFailure: error => options.onStoreFailure(error, 'journal: write'),
  })
}

function openLedger(
  options: AccountsOptions,
  { balance, allowance, ...parts }: Pick<Accounts, 'calendar' | 'price' | 'balance' | 'unsaved' | 'allowance'>,
): Ledger {
  return new Ledger({
    ...parts,
    store: options.store,
    now: options.now,
    whenStoreIsDown: options.whenStoreIsDown,
    onBalance: remaining => balance.record(remaining),
    onBooked: bookedInto(allowance, options),
    onStoreFailure: (error, doing) => options.onStoreFailure(error, `ledger: ${doing}`),
  })
}

function openRecovery(
  options: AccountsOptions,
  parts: Pick<Accounts, 'unsaved' | 'ledger' | 'allowance'> & { resume(entry: LedgerEntry): Promise<void> },
): Recovery {
  return new Recovery({
    store: options.store,
    unsaved: parts.unsaved,
    isOwn: callId => parts.ledger.isOwn(callId),
    orphanAfterMs: options.orphanAfterMs,
    everyMs: SWEEP_MS,
    resume: parts.resume,
    now: options.now,
    onBooked: bookedInto(parts.allowance, options),
    onOrphan: options.onOrphan,
    onFailure: (error, doing) => options.onStoreFailure(error, `orphans: ${doing}`),
  })
}

/** What was just booked shows in the team's allowance at once. */
function bookedInto(allowance: Allowance, { onBooked }: AccountsOptions): AccountsOptions['onBooked'] {
  return (team, outcome, cost) => {
    allowance.forget(team)
    onBooked(team, outcome, cost)
  }
}
