import type { BudgetLimits, CallEntry, LedgerEntry, LedgerStore, ReserveOutcome, SettledCall } from '../../storage.js'
import { ACTIVITY_COUNTERS, COSTS_REMEMBERED, checkAmounts } from '../totals.js'
import type { Environment } from './environment.js'
import {
  accountOf,
  addToMonth,
  type Books,
  bookedBy,
  count,
  floorHolds,
  known,
  openBooks,
  RELEASED,
  recordBalance,
  reserveLess,
  setUnknownAt,
  tally,
} from './ledger-books.js'
import { createReads } from './ledger-reads.js'
import { createSharing } from './sharing.js'

export interface EmbeddedLedger extends LedgerStore {
  /** Takes out what is remembered no longer. */
  purge(): Promise<void>
}

/** The ledger's steps, each inside one transaction, with the semantics of the Redis scripts. */
export function createLedger(environment: Environment, now: () => number): EmbeddedLedger {
  const books = openBooks(environment)
  const sharing = createSharing(environment, now, (of, amount) => count(books, of, { shared: amount }))
  return {
    ...createReads(environment, books),
    ...sharing,
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      return environment.write(() => reserve(books, call, limits))
    },
    async settle(call, settled) {
      const { cost, settledAt } = settled
      checkAmounts({ cost, settledAt, estimate: call.estimate })
      return environment.write(() => {
        settle(books, call, settled)
        return accountOf(books)
      })
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      await environment.write(() => note(books, call))
    },
    async release(call, options) {
      await environment.write(() => {
        const isFinal = books.calls.get([call.day, call.callId])?.state === 'charged'
        if (takeOut(books, call)) tally(books, { sequence: 1 })
        if (!isFinal && options?.mayStillArrive) books.calls.put([call.day, call.callId], RELEASED)
      })
    },
    async booked(team, windows) {
      return environment.read(() => bookedBy(books, { team, ...windows }))
    },
    async addActivity(team, day, activity) {
      checkAmounts({ ...activity })
      const wanted = ACTIVITY_COUNTERS.filter(name => activity[name] > 0).map(name => [name, activity[name]] as const)
      if (wanted.length > 0) await environment.write(() => count(books, { team, day }, Object.fromEntries(wanted)))
    },
    async recordBalance(sample) {
      const { remaining, at, since = at, slack = 0 } = sample
      checkAmounts({ at, since, slack, remaining: Math.abs(remaining) })
      await environment.write(() => recordBalance(books, { remaining, at, since, slack }))
    },
  }
}

function reserve(books: Books, call: CallEntry, limits: BudgetLimits): ReserveOutcome {
  const booked = bookedBy(books, call)
  const refused = (window: 'daily' | 'monthly' | 'floor') =>
    ({ ok: false, window, booked, account: accountOf(books) }) as const
  if (books.calls.get([call.day, call.callId])) return { ok: true, booked, account: accountOf(books) }
  const daily = booked.daily + call.estimate
  const monthly = booked.monthly + call.estimate
  if (limits.daily !== undefined && daily > limits.daily) return refused('daily')
  if (limits.monthly !== undefined && monthly > limits.monthly) return refused('monthly')
  if (!floorHolds(books, call, limits.floor)) return refused('floor')
  tally(books, { sequence: 1 })
  book(books, call)
  return { ok: true, booked: { daily, monthly }, account: accountOf(books) }
}

function book(books: Books, call: CallEntry): void {
  books.calls.put([call.day, call.callId], { ...call, state: 'reserved' })
  books.open.put([call.at, call.day, call.callId], true)
  count(books, call, { reservedCalls: 1, reserved: call.estimate })
  addToMonth(books, call, call.estimate)
  tally(books, { reserved: call.estimate })
}

function note(books: Books, call: CallEntry): void {
  const old = books.calls.get([call.day, call.callId])
  if (old && old.state !== 'reserved') return
  tally(books, { sequence: 1 })
  // Booked anew, since the estimate and the time may be others now.
  takeOut(books, call)
  book(books, call)
}

function settle(books: Books, call: CallEntry, settled: SettledCall): void {
  const { outcome, cost, settledAt } = settled
  const old = books.calls.get([call.day, call.callId])
  if (old?.state === 'charged' || (outcome === 'unknown' && (old?.state === 'unknown' || old?.state === 'released')))
    return
  takeOut(books, call)
  books.calls.put([call.day, call.callId], { ...call, state: outcome, settled })
  count(books, call, outcome === 'charged' ? { paidCalls: 1, charged: cost } : { unknownCalls: 1, unknown: cost })
  addToMonth(books, call, cost)
  const isEstimate = outcome === 'unknown' || settled.costSource === 'estimate'
  tally(books, { sequence: 1, spent: cost, calls: 1, ...(isEstimate && { estimatedCalls: 1 }) })
  if (outcome === 'unknown') {
    books.unknown.put([settledAt, call.day, call.callId], true)
    setUnknownAt(books, settledAt)
  } else if (!isEstimate)
    books.costs.put('costs', [cost, ...(books.costs.get('costs') ?? [])].slice(0, COSTS_REMEMBERED))
}

/** Takes an entry out that is reserved or unknown; what is charged or not there stays as it is. Answers whether one was. */
function takeOut(books: Books, { day, callId }: CallEntry): boolean {
  const old = known(books.calls.get([day, callId]))
  if (!old || old.state === 'charged') return false
  const isReserved = old.state === 'reserved'
  const amount = isReserved ? old.estimate : (old.settled?.cost ?? 0)
  books.calls.remove([day, callId])
  books.open.remove([old.at, day, callId])
  count(books, old, isReserved ? { reservedCalls: -1, reserved: -amount } : { unknownCalls: -1, unknown: -amount })
  addToMonth(books, old, -amount)
  if (isReserved) reserveLess(books, amount)
  else takeOutUnknown(books, old, amount)
  return true
}

function takeOutUnknown(books: Books, { day, callId, settled }: LedgerEntry, amount: number): void {
  const place: [number, string, string] = [settled?.settledAt ?? 0, day, callId]
  // One that became unknown before the account was kept is not in it.
  if (!books.unknown.get(place)) return
  books.unknown.remove(place)
  tally(books, { spent: -amount, calls: -1, estimatedCalls: -1 })
}
