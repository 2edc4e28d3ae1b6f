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
  /** `PRICE_ESTIMATE_CREDITS`, `BUDGET_TIMEZONE`, `BUDGET_FAIL`. */
  priceEstimate: Nanocredits
  timeZone: string
  whenStoreIsDown: 'closed' | 'open'
  /** Segmind's free balance endpoint. */
  askBalance(): Promise<Nanocredits>
  now(): number
  onBooked(team: string, outcome: 'charged' | 'unknown', cost: Nanocredits): void
  onAnswered(team: string, how: How, cost: Nanocredits): void
  onFailure(error: unknown, doing: string): void
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
  const { store, now, onFailure } = options
  const calendar = createBudgetCalendar(options.timeZone)
  const price = new PriceEstimate(options.priceEstimate)
  const balance = new Balance({
    store,
    now,
    ask: options.askBalance,
    onFailure: (error, doing) => onFailure(error, `balance: ${doing}`),
  })
  const unsaved = new UnsavedSteps({ retryMs: RETRY_MS, onFailure: error => onFailure(error, 'ledger: write again') })
  const allowance = new Allowance({ store, calendar, now, balance: () => balance.latest?.remaining })
  const journal = new Journal({
    store,
    calendar,
    now,
    everyMs: JOURNAL_MS,
    onAnswered: options.onAnswered,
    onStoreFailure: error => onFailure(error, 'journal: write'),
  })
  const ledger = new Ledger({
    store,
    price,
    calendar,
    unsaved,
    now,
    whenStoreIsDown: options.whenStoreIsDown,
    onBalance: remaining => balance.record(remaining),
    onBooked: (team, outcome, cost) => {
      allowance.forget(team)
      options.onBooked(team, outcome, cost)
    },
    onStoreFailure: (error, doing) => onFailure(error, `ledger: ${doing}`),
  })
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
