import type { AccountBalance } from '../contracts/account.js'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { Nanocredits } from '../contracts/nanocredits.js'
import type { LedgerEntry, LedgerState, LedgerStore, RecordStore, StepSpool } from '../contracts/store.js'
import { Account, type AccountOptions } from './account/account.js'
import { Allowance } from './allowance.js'
import { UsageJournal } from './journal.js'
import { CreditLedger, type CreditLedgerOptions } from './ledger.js'
import type { CreditsObserver } from './observer.js'
import { Recovery } from './recovery.js'
import { type RemainingSteps, UnsavedSteps } from './unsaved.js'
import { type BudgetCalendar, createBudgetCalendar } from './windows.js'

export interface AccountsOptions {
  store: LedgerStore
  /** Default: `ok`. */
  ledgerState?(): LedgerState
  records: RecordStore
  isStoreUp(): boolean
  /** Holds steps that the store cannot take. Its owner closes it, after this part. */
  spool: StepSpool
  /** Spooled steps outlive this process. */
  isSpoolDurable: boolean
  /** Age of a reservation, in milliseconds, from which no live process can own it. */
  orphanAfterMs: number
  /** Time for which the store remembers the users of a purchase. */
  shareSeconds: number
  /** `PRICE_ESTIMATE_CREDITS`, `RESERVE_CREDITS`, `BUDGET_TIMEZONE`, `BUDGET_FAIL`. */
  priceEstimate: Nanocredits
  reserve: Nanocredits
  timeZone: string
  whenStoreIsDown: CreditLedgerOptions['whenStoreIsDown']
  /** Segmind's free balance endpoint. */
  requestBalance(): Promise<AccountBalance>
  now: Clock
  later?: AccountOptions['later']
  observer: CreditsObserver
}

/** The parts that handle credits. */
export interface Accounts {
  calendar: BudgetCalendar
  account: Account
  unsaved: UnsavedSteps
  ledger: CreditLedger
  journal: UsageJournal
  allowance: Allowance
  /**
   * Updates the credit state from one call to Segmind that has just ended. `code`: `ok` or an error
   * code.
   */
  recordAttempt(attempt: { code: string; durationMs: number }): void
  /**
   * Starts to end the calls of dead processes. `resume` polls the job of an entry and ends the
   * entry.
   */
  startRecovery(resume: (entry: LedgerEntry) => Promise<void>): Recovery
  /**
   * Writes pending counters and waiting ledger steps. Returns the steps that the store still did
   * not accept.
   */
  close(): Promise<RemainingSteps>
}

const RETRY_MS = 1_000
const JOURNAL_MS = 1_000
const ACCOUNT_MS = 15_000
/** Time that other replicas may need, after a store failure, to write the steps they spooled. */
const CATCH_UP_MS = 30_000
const SWEEP_MS = 15_000

/**
 * Builds the parts. Requests the balance at once and whenever it is out of date. Writes the ledger
 * steps that an earlier process spooled.
 */
export function openAccounts(options: AccountsOptions): Accounts {
  const { shared, ...parts } = buildParts(options)
  const { account, unsaved, ledger, journal } = parts
  const timer = setInterval(() => void account.refresh(), ACCOUNT_MS).unref()
  void account.refresh()
  void unsaved.flush()
  let recovery: Recovery | undefined
  return {
    ...parts,
    recordAttempt({ code, durationMs }) {
      if (code === 'ok') void account.state.apply({ kind: 'accepted', at: options.now() - durationMs })
    },
    startRecovery(resume) {
      void recovery?.close()
      const isOwn = (callId: string) => ledger.isOwn(callId)
      const { orphanAfterMs } = options
      recovery = new Recovery({ ...shared, unsaved, isOwn, orphanAfterMs, everyMs: SWEEP_MS, resume })
      recovery.start()
      return recovery
    },
    async close() {
      clearInterval(timer)
      const [, left] = await Promise.all([journal.flush(), unsaved.close(), recovery?.close(), account.idle()])
      return left
    },
  }
}

function buildParts(options: AccountsOptions) {
  const { store, records, isStoreUp, now, reserve, ledgerState } = options
  const calendar = createBudgetCalendar(options.timeZone)
  let storeFailedAt = Number.NEGATIVE_INFINITY
  const outer = options.observer
  const observer: CreditsObserver = {
    callBooked(team, outcome, cost) {
      allowance.forget(team)
      outer.callBooked(team, outcome, cost)
    },
    unknownSettled: (team, booked) => outer.unknownSettled(team, booked),
    storeFailed(error, operation) {
      // Monotonic: the store's clock jumps when it answers for the first time.
      storeFailedAt = performance.now()
      outer.storeFailed(error, operation)
    },
    creditStateChanged: state => outer.creditStateChanged(state),
    accountEventRecorded: event => outer.accountEventRecorded(event),
    figureImplausible: figure => outer.figureImplausible(figure),
    balanceRequestFailed: error => outer.balanceRequestFailed(error),
    ledgerStepLost: (step, error) => outer.ledgerStepLost(step, error),
    orphanSettled: (entry, fate) => outer.orphanSettled(entry, fate),
  }
  const shared = { store, records, isStoreUp, calendar, now, reserve, observer }
  const { spool, isSpoolDurable, priceEstimate, requestBalance, shareSeconds, whenStoreIsDown } = options
  const unsaved = new UnsavedSteps({ ...shared, spool, isSpoolDurable, retryMs: RETRY_MS })
  const isSettled = () => unsaved.size === 0 && performance.now() - storeFailedAt >= CATCH_UP_MS
  const account = new Account({ ...shared, priceEstimate, requestBalance, isSettled, later: options.later })
  const allowance = new Allowance({ ...shared, balance: account.balance })
  const journal = new UsageJournal({ ...shared, everyMs: JOURNAL_MS, shareSeconds })
  const ledger = new CreditLedger({ ...shared, account, unsaved, whenStoreIsDown, ...defined({ ledgerState }) })
  return { shared, calendar, account, unsaved, ledger, journal, allowance }
}
