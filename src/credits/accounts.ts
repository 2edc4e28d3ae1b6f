import type { Nanocredits } from '../nanocredits.js'
import type { How } from '../segment/ports.js'
import type { LedgerEntry, LedgerStep, LedgerStore, RecordStore, StepSpool } from '../storage.js'
import { Account } from './account/account.js'
import type { CreditState } from './account/credit-state.js'
import type { AccountEvent } from './account/record.js'
import { Allowance } from './allowance.js'
import { Journal } from './journal.js'
import { Ledger } from './ledger.js'
import { type OrphanFate, Recovery } from './recovery.js'
import { type LeftSteps, UnsavedSteps } from './unsaved.js'
import { type BudgetCalendar, createBudgetCalendar } from './windows.js'

export interface AccountsOptions {
  store: LedgerStore
  records: RecordStore
  isStoreUp(): boolean
  /** Where steps wait that the store cannot take; whoever opened it closes it, after the books. */
  spool: StepSpool
  /** Whether what waits there outlives this process. */
  isSpoolDurable: boolean
  /** How old a reserved entry has to be before nobody can own it any more, milliseconds. */
  orphanAfterMs: number
  /** How long it is remembered who shares a purchase, seconds. */
  shareSeconds: number
  /** `PRICE_ESTIMATE_CREDITS`, `RESERVE_CREDITS`, `BUDGET_TIMEZONE`, `BUDGET_FAIL`. */
  priceEstimate: Nanocredits
  reserve: Nanocredits
  timeZone: string
  whenStoreIsDown: 'closed' | 'open'
  /** Segmind's free balance endpoint. */
  askBalance(): Promise<Nanocredits>
  now(): number
  onBooked(team: string, outcome: 'charged' | 'unknown', cost: Nanocredits): void
  onAnswered(team: string, how: How, cost: Nanocredits): void
  /** Told by the one replica that changed the state of credits for all, or recorded that the balance moved otherwise than booked. */
  onCreditState(state: CreditState): void
  onAccountEvent(event: AccountEvent): void
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
  account: Account
  unsaved: UnsavedSteps
  ledger: Ledger
  journal: Journal
  allowance: Allowance
  /** Takes down what came of one attempt at Segmind: `ok`, or an error code; `sentAt`, milliseconds since 1970. */
  attempted(attempt: { code: string; sentAt: number }): void
  /** Begins to end what dead processes have left, once there is somebody who can poll a job: `resume` polls the entry's and ends the entry. */
  startRecovery(resume: (entry: LedgerEntry) => Promise<void>): Recovery
  /** Writes what is counted or could not be written before; answers the ledger steps that the store still did not take. */
  close(): Promise<LeftSteps>
}

const RETRY_MS = 1_000
const JOURNAL_MS = 1_000
const ACCOUNT_MS = 15_000
/** After the store was away, others may still write what happened meanwhile: the books are behind for so long. */
const CATCH_UP_MS = 30_000
const SWEEP_MS = 15_000

/** Opens the books: asks for the balance at once and again whenever it has grown old, and writes what an earlier process could not. */
export function openAccounts(given: AccountsOptions): Accounts {
  const { options, isCaughtUp } = watchingStore(given)
  const { store, now } = options
  const calendar = createBudgetCalendar(options.timeZone)
  const unsaved = openUnsaved(options)
  const isSettled = () => unsaved.size === 0 && isCaughtUp()
  const account = openAccount(options, { calendar, isSettled })
  const { reserve } = options
  const allowance = new Allowance({ store, calendar, now, reserve, balance: () => account.balance.latest?.remaining })
  const journal = openJournal(options, calendar)
  const ledger = openLedger(options, { calendar, account, unsaved, allowance })
  const timer = setInterval(() => void account.refresh(), ACCOUNT_MS).unref()
  void account.refresh()
  void unsaved.flush()
  let recovery: Recovery | undefined
  return {
    calendar,
    account,
    unsaved,
    ledger,
    journal,
    allowance,
    attempted({ code, sentAt }) {
      if (code === 'ok') void account.state.tell({ kind: 'accepted', at: sentAt })
      if (code === 'credits_exhausted') void account.state.tell({ kind: 'refused', at: now() })
    },
    startRecovery(resume) {
      void recovery?.close()
      recovery = openRecovery(options, { unsaved, ledger, allowance, resume })
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

/** The same options, and whether the store has answered for long enough that all replicas have written what it missed. */
function watchingStore(options: AccountsOptions): { options: AccountsOptions; isCaughtUp(): boolean } {
  let failedAt = Number.NEGATIVE_INFINITY
  return {
    options: {
      ...options,
      onStoreFailure(error, doing) {
        failedAt = options.now()
        options.onStoreFailure(error, doing)
      },
    },
    isCaughtUp: () => options.now() - failedAt >= CATCH_UP_MS,
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

function openAccount(
  options: AccountsOptions,
  { calendar, isSettled }: { calendar: BudgetCalendar; isSettled(): boolean },
): Account {
  const { store, records, now, priceEstimate, reserve, askBalance, onAskFailure, onStoreFailure } = options
  return new Account({
    ...{ store, records, calendar, priceEstimate, reserve, askBalance, now, isSettled, onAskFailure, onStoreFailure },
    onState: options.onCreditState,
    onEvent: options.onAccountEvent,
    onResolved({ entry, cost }) {
      if (cost > 0) options.onBooked(entry.team, 'charged', cost)
    },
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
  parts: Pick<Accounts, 'calendar' | 'account' | 'unsaved' | 'allowance'>,
): Ledger {
  const { calendar, account, unsaved, allowance } = parts
  const { store, now, reserve, whenStoreIsDown } = options
  return new Ledger({
    ...{ calendar, account, unsaved, store, now, reserve, whenStoreIsDown },
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
