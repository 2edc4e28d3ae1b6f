import type {
  Booked,
  BudgetLimits,
  CallEntry,
  LedgerEntry,
  LedgerStore,
  ReserveOutcome,
  SettledCall,
} from '../../storage.js'
import {
  ACTIVITY_COUNTERS,
  bookedIn,
  byDayThenTeam,
  type Counter,
  checkAmounts,
  type Totals,
  toTotals,
} from '../totals.js'
import type { Environment } from './environment.js'

/** The ledger's steps, each inside one transaction, with the semantics of the Redis scripts. */
export function createLedger(environment: Environment): LedgerStore {
  const books = openBooks(environment)
  return {
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      return environment.write(() => reserve(books, call, limits))
    },
    async settle(call, settled) {
      checkAmounts({ cost: settled.cost, estimate: call.estimate })
      await environment.write(() => settle(books, call, settled))
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      await environment.write(() => note(books, call))
    },
    async release(call, options) {
      await environment.write(() => {
        const isFinal = books.calls.get([call.day, call.callId])?.state === 'charged'
        takeOut(books, call)
        if (!isFinal && options?.mayStillArrive) books.calls.put([call.day, call.callId], RELEASED)
      })
    },
    async entry(day, callId) {
      return environment.read(() => known(books.calls.get([day, callId])))
    },
    async open(before, limit) {
      return environment.read(() => {
        const found = books.open.getKeys({ start: [0], end: [before, '~'], limit })
        return [...found].flatMap(([, day, callId]) => known(books.calls.get([day, callId])) ?? [])
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
    async usage(month, team) {
      const range = { start: [`${month}-`], end: [`${month}-~`] }
      const days = environment.read(() => [...books.totals.getRange(range)])
      const rows = days.map(({ key: [day, name], value }) => ({ team: name, day, ...toTotals(value) }))
      return rows.filter(row => team === undefined || row.team === team).sort(byDayThenTeam)
    },
    async entries(day) {
      const range = { start: [day], end: [`${day}~`] }
      return environment.read(() => [...books.calls.getRange(range)].flatMap(({ value }) => known(value) ?? []))
    },
    async recordBalance({ remaining, at }) {
      checkAmounts({ at, remaining: Math.abs(remaining) })
      await environment.write(() => {
        const known = books.balance.get('balance')?.at ?? -1
        // More than a minute ahead: written by a clock that was wrong.
        if (known <= at || known > at + 60_000) books.balance.put('balance', { remaining, at })
      })
    },
    async balance() {
      return environment.read(() => books.balance.get('balance'))
    },
  }
}

/** What is left of a call that was released before its reservation arrived. */
const RELEASED = { state: 'released' } as const

type Books = ReturnType<typeof openBooks>

function openBooks({ root }: Environment) {
  return {
    /** By day and call id. */
    calls: root.openDB<LedgerEntry | typeof RELEASED, string[]>('calls', {}),
    /** Calls still reserved, by the time they were reserved at, day and call id. */
    open: root.openDB<true, [number, string, string]>('open', {}),
    /** By day and team. */
    totals: root.openDB<Partial<Totals>, [string, string]>('totals', {}),
    /** What is booked in all, by month and team. */
    months: root.openDB<number, [string, string]>('months', {}),
    balance: root.openDB<{ remaining: number; at: number }, string>('balance', {}),
  }
}

interface Windows {
  team: string
  day: string
  month: string
}

function bookedBy(books: Books, { team, day, month }: Windows): Booked {
  return { daily: bookedIn(books.totals.get([day, team])), monthly: books.months.get([month, team]) ?? 0 }
}

function reserve(books: Books, call: CallEntry, limits: BudgetLimits): ReserveOutcome {
  const booked = bookedBy(books, call)
  if (books.calls.get([call.day, call.callId])) return { ok: true, booked }
  const daily = booked.daily + call.estimate
  const monthly = booked.monthly + call.estimate
  if (limits.daily !== undefined && daily > limits.daily) return { ok: false, window: 'daily', booked }
  if (limits.monthly !== undefined && monthly > limits.monthly) return { ok: false, window: 'monthly', booked }
  book(books, call)
  return { ok: true, booked: { daily, monthly } }
}

function book(books: Books, call: CallEntry): void {
  books.calls.put([call.day, call.callId], { ...call, state: 'reserved' })
  books.open.put([call.at, call.day, call.callId], true)
  count(books, call, { reservedCalls: 1, reserved: call.estimate })
  addToMonth(books, call, call.estimate)
}

function note(books: Books, call: CallEntry): void {
  const old = books.calls.get([call.day, call.callId])
  if (old && old.state !== 'reserved') return
  // Booked anew, since the estimate and the time may be others now.
  takeOut(books, call)
  book(books, call)
}

function settle(books: Books, call: CallEntry, settled: SettledCall): void {
  const { outcome, cost } = settled
  const old = books.calls.get([call.day, call.callId])
  if (old?.state === 'charged' || (outcome === 'unknown' && (old?.state === 'unknown' || old?.state === 'released')))
    return
  takeOut(books, call)
  books.calls.put([call.day, call.callId], { ...call, state: outcome, settled })
  count(books, call, outcome === 'charged' ? { paidCalls: 1, charged: cost } : { unknownCalls: 1, unknown: cost })
  addToMonth(books, call, cost)
}

/** Takes an entry out that is reserved or unknown; what is charged or not there stays as it is. */
function takeOut(books: Books, { day, callId }: CallEntry): void {
  const old = known(books.calls.get([day, callId]))
  if (!old || old.state === 'charged') return
  const amount = old.state === 'reserved' ? old.estimate : (old.settled?.cost ?? 0)
  books.calls.remove([day, callId])
  books.open.remove([old.at, day, callId])
  count(
    books,
    old,
    old.state === 'reserved' ? { reservedCalls: -1, reserved: -amount } : { unknownCalls: -1, unknown: -amount },
  )
  addToMonth(books, old, -amount)
}

/** An entry, and not the mark of one that was released before its reservation arrived. */
function known(entry: LedgerEntry | typeof RELEASED | undefined): LedgerEntry | undefined {
  return entry && entry.state !== 'released' ? entry : undefined
}

function count(books: Books, { day, team }: Omit<Windows, 'month'>, amounts: Partial<Totals>): void {
  const totals = { ...books.totals.get([day, team]) }
  for (const [name, amount] of Object.entries(amounts) as [Counter, number][])
    totals[name] = (totals[name] ?? 0) + amount
  books.totals.put([day, team], totals)
}

function addToMonth(books: Books, { month, team }: Windows, amount: number): void {
  books.months.put([month, team], (books.months.get([month, team]) ?? 0) + amount)
}
