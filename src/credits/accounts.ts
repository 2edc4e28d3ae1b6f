import type { Nanocredits } from '../nanocredits.js'
import type { How } from '../segment/ports.js'
import type { LedgerStore } from '../storage.js'
import { Allowance } from './allowance.js'
import { Balance } from './balance.js'
import { Journal } from './journal.js'
import { Ledger } from './ledger.js'
import { PriceEstimate } from './price.js'
import { UnsavedSteps } from './unsaved.js'
import { type BudgetCalendar, createBudgetCalendar } from './windows.js'

export interface AccountsOptions {
  store: LedgerStore
  isStoreUp(): boolean
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
  /** Writes what is counted or could not be written before; answers how many ledger steps the store still did not take. */
  close(): Promise<number>
}

const RETRY_MS = 1_000
const JOURNAL_MS = 1_000
const BALANCE_MS = 15_000

/** Opens the books: asks for the balance at once and again whenever it has grown old. */
export function openAccounts(options: AccountsOptions): Accounts {
  const { now } = options
  const calendar = createBudgetCalendar(options.timeZone)
  const price = new PriceEstimate(options.priceEstimate)
  const balance = openBalance(options)
  const unsaved = new UnsavedSteps({
    retryMs: RETRY_MS,
    isStoreUp: options.isStoreUp,
    onFailure: error => options.onStoreFailure(error, 'ledger: write again'),
  })
  const allowance = new Allowance({ store: options.store, calendar, now, balance: () => balance.latest?.remaining })
  const journal = openJournal(options, calendar)
  const ledger = openLedger(options, { calendar, price, balance, unsaved, allowance })
  const timer = setInterval(() => void balance.refresh(), BALANCE_MS).unref()
  void balance.refresh()
  return {
    calendar,
    price,
    balance,
    unsaved,
    ledger,
    journal,
    allowance,
    async close() {
      clearInterval(timer)
      unsaved.close()
      await Promise.all([journal.flush(), unsaved.flush()])
      return unsaved.size
    },
  }
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
    onBooked: (team, outcome, cost) => {
      allowance.forget(team)
      options.onBooked(team, outcome, cost)
    },
    onStoreFailure: (error, doing) => options.onStoreFailure(error, `ledger: ${doing}`),
  })
}
