import type { Clock } from '../../contracts/clock.js'
import type {
  BudgetLimits,
  BudgetWindow,
  CallEntry,
  LedgerEntry,
  LedgerStore,
  ReserveOutcome,
  SettledCall,
} from '../../contracts/store.js'
import { ACTIVITY_COUNTERS, checkAmounts, MAX_RECENT_COSTS } from '../totals.js'
import type { Environment } from './environment.js'
import { createReads } from './ledger-reads.js'
import {
  addToDay,
  addToLedger,
  addToMonth,
  floorHolds,
  type LedgerTables,
  openTables,
  RELEASED,
  readBooked,
  readTotals,
  recordBalance,
  reduceReserved,
  setUnknownAt,
  toEntry,
} from './ledger-tables.js'
import { createSharing } from './sharing.js'

export interface EmbeddedLedger extends LedgerStore {
  /** Deletes expired data of shared purchases. */
  purge(): Promise<void>
}

/**
 * Creates the embedded ledger. Each step is one transaction with the semantics of the Redis
 * scripts.
 */
export function createLedger(environment: Environment, now: Clock): EmbeddedLedger {
  const tables = openTables(environment)
  const sharing = createSharing(environment, now, (day, amount) => addToDay(tables, day, { shared: amount }))
  return {
    ...createReads(environment, tables),
    ...sharing,
    async reserve(call, limits) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      return environment.write(() => reserve(tables, call, limits))
    },
    async settle(call, settled) {
      const { cost, settledAt } = settled
      checkAmounts({ cost, settledAt, estimate: call.estimate })
      return environment.write(() => {
        settle(tables, call, settled)
        return readTotals(tables)
      })
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      await environment.write(() => note(tables, call))
    },
    async release(call, options) {
      await environment.write(() => {
        const isFinal = tables.calls.get([call.day, call.callId])?.state === 'charged'
        if (takeOut(tables, call)) addToLedger(tables, { sequence: 1 })
        if (!isFinal && options?.mayStillArrive) tables.calls.put([call.day, call.callId], RELEASED)
      })
    },
    async booked(team, windows) {
      return environment.read(() => readBooked(tables, { team, ...windows }))
    },
    async addActivity(team, day, activity) {
      checkAmounts({ ...activity })
      const amounts = ACTIVITY_COUNTERS.filter(name => activity[name] > 0).map(name => [name, activity[name]] as const)
      if (amounts.length > 0)
        await environment.write(() => addToDay(tables, { team, day }, Object.fromEntries(amounts)))
    },
    async recordBalance(sample) {
      const { remaining, at, since = at, slack = 0 } = sample
      checkAmounts({ at, since, slack, remaining: Math.abs(remaining) })
      await environment.write(() => recordBalance(tables, { remaining, at, since, slack }))
    },
  }
}

function reserve(tables: LedgerTables, call: CallEntry, limits: BudgetLimits): ReserveOutcome {
  const booked = readBooked(tables, call)
  const refused = (window: BudgetWindow | 'floor') =>
    ({ ok: false, window, booked, totals: readTotals(tables) }) as const
  if (tables.calls.get([call.day, call.callId])) return { ok: true, booked, totals: readTotals(tables) }
  const daily = booked.daily + call.estimate
  const monthly = booked.monthly + call.estimate
  if (limits.daily !== undefined && daily > limits.daily) return refused('daily')
  if (limits.monthly !== undefined && monthly > limits.monthly) return refused('monthly')
  if (limits.floor !== undefined && !floorHolds(tables, call, limits.floor)) return refused('floor')
  book(tables, call)
  return { ok: true, booked: { daily, monthly }, totals: readTotals(tables) }
}

/** Books a reservation, and counts the step. */
function book(tables: LedgerTables, call: CallEntry): void {
  tables.calls.put([call.day, call.callId], { ...call, state: 'reserved' })
  tables.open.put([call.at, call.day, call.callId], true)
  addToDay(tables, call, { reservedCalls: 1, reserved: call.estimate })
  addToMonth(tables, call, call.estimate)
  addToLedger(tables, { sequence: 1, reserved: call.estimate })
}

function note(tables: LedgerTables, call: CallEntry): void {
  const old = tables.calls.get([call.day, call.callId])
  if (old && old.state !== 'reserved') return
  // Books the call again, since its estimate and time may have changed.
  takeOut(tables, call)
  book(tables, call)
}

function settle(tables: LedgerTables, call: CallEntry, settled: SettledCall): void {
  const { outcome, cost, settledAt } = settled
  const state = tables.calls.get([call.day, call.callId])?.state
  if (state === 'charged' || (outcome === 'unknown' && (state === 'unknown' || state === 'released'))) return
  takeOut(tables, call)
  tables.calls.put([call.day, call.callId], { ...call, state: outcome, settled })
  addToDay(tables, call, outcome === 'charged' ? { paidCalls: 1, charged: cost } : { unknownCalls: 1, unknown: cost })
  addToMonth(tables, call, cost)
  const isEstimate = outcome === 'unknown' || settled.costSource === 'estimate'
  addToLedger(tables, { sequence: 1, spent: cost, calls: 1, estimatedCalls: isEstimate ? 1 : 0 })
  if (outcome === 'unknown') {
    tables.unknown.put([settledAt, call.day, call.callId], true)
    setUnknownAt(tables, settledAt)
  } else if (!isEstimate)
    tables.costs.put('costs', [cost, ...(tables.costs.get('costs') ?? [])].slice(0, MAX_RECENT_COSTS))
}

/**
 * Removes an entry that is reserved or unknown, and leaves a charged one. Returns whether it
 * removed one.
 */
function takeOut(tables: LedgerTables, { day, callId }: CallEntry): boolean {
  const old = toEntry(tables.calls.get([day, callId]))
  if (!old || old.state === 'charged') return false
  const isReserved = old.state === 'reserved'
  const amount = isReserved ? old.estimate : (old.settled?.cost ?? 0)
  tables.calls.remove([day, callId])
  tables.open.remove([old.at, day, callId])
  addToDay(tables, old, isReserved ? { reservedCalls: -1, reserved: -amount } : { unknownCalls: -1, unknown: -amount })
  addToMonth(tables, old, -amount)
  if (isReserved) reduceReserved(tables, amount)
  else takeOutUnknown(tables, old, amount)
  return true
}

function takeOutUnknown(tables: LedgerTables, { day, callId, settled }: LedgerEntry, amount: number): void {
  const key: [number, string, string] = [settled?.settledAt ?? 0, day, callId]
  // A call that became unknown under a version without totals is missing in them.
  if (!tables.unknown.get(key)) return
  tables.unknown.remove(key)
  addToLedger(tables, { spent: -amount, calls: -1, estimatedCalls: -1 })
}
