import type { Clock } from '../../contracts/clock.js'
import type {
  BudgetLimits,
  BudgetWindow,
  CallEntry,
  LedgerBooks,
  LedgerEntry,
  LedgerStore,
  LedgerWitness,
  ReserveOutcome,
  SettledCall,
} from '../../contracts/store.js'
import { rolledUpError } from '../roll-up.js'
import { ACTIVITY_COUNTERS, checkAmounts, MAX_RECENT_COSTS } from '../totals.js'
import type { Environment } from './environment.js'
import { commitStep, createBooks, findLoss, markLost } from './ledger-identity.js'
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
} from './ledger-tables.js'
import { createRollUp, isRolledUp } from './roll-up.js'
import { createSharing } from './sharing.js'

export interface EmbeddedLedger extends LedgerStore, LedgerBooks {
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
    ...createBooks(environment, tables),
    ...createRollUp(environment, tables),
    ...createAccountSteps(environment, tables),
    ...sharing,
    async reserve(call, limits, witness) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      return environment.write(() => reserve(tables, call, { limits, witness }))
    },
    async settle(call, settled, witness) {
      const { cost, settledAt } = settled
      checkAmounts({ cost, settledAt, estimate: call.estimate })
      return environment.write(() => {
        const loss = findLoss(tables, witness)
        if (loss) markLost(tables, loss)
        settle(tables, call, settled)
        return readTotals(tables)
      })
    },
    async note(call) {
      checkAmounts({ at: call.at, estimate: call.estimate })
      await environment.write(() => note(tables, call))
    },
    async release(call, options) {
      return environment.write(() => {
        const known = tables.calls.get([call.day, call.callId])
        if (known?.state === 'charged') return false
        if (!known && isRolledUp(tables, call.day)) return false
        if (options?.mayStillArrive) tables.calls.put([call.day, call.callId], RELEASED)
        if (!known || known.state === 'released') return false
        if (!options?.mayStillArrive) tables.calls.remove([call.day, call.callId])
        takeOut(tables, known)
        commitStep(tables, known, `release ${call.callId}`)
        return true
      })
    },
    async booked(team, windows) {
      return environment.read(() => readBooked(tables, { team, ...windows }))
    },
  }
}

/** Creates the steps and reads that concern all teams together. */
function createAccountSteps(
  environment: Environment,
  tables: LedgerTables,
): Pick<LedgerStore, 'totals' | 'addActivity' | 'recordBalance'> {
  return {
    async totals(witness, { isMarking = false } = {}) {
      const known = environment.read(() => ({ totals: readTotals(tables), loss: findLoss(tables, witness) }))
      if (known.totals.loss || !known.loss) return known.totals
      if (!isMarking) return { ...known.totals, loss: known.loss }
      // The read may have seen an older state than the caller. A transaction sees the latest one.
      return environment.write(() => {
        const loss = findLoss(tables, witness)
        if (loss) markLost(tables, loss)
        return readTotals(tables)
      })
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

function reserve(
  tables: LedgerTables,
  call: CallEntry,
  { limits, witness }: { limits: BudgetLimits; witness: LedgerWitness | undefined },
): ReserveOutcome {
  const booked = readBooked(tables, call)
  const refused = (window: BudgetWindow | 'floor' | 'lost') =>
    ({ ok: false, window, booked, totals: readTotals(tables) }) as const
  const loss = findLoss(tables, witness)
  if (loss) markLost(tables, loss)
  if (tables.calls.get([call.day, call.callId])) return { ok: true, booked, totals: readTotals(tables) }
  if (loss && (limits.daily !== undefined || limits.monthly !== undefined)) return refused('lost')
  const daily = booked.daily + call.estimate
  const monthly = booked.monthly + call.estimate
  if (limits.daily !== undefined && daily > limits.daily) return refused('daily')
  if (limits.monthly !== undefined && monthly > limits.monthly) return refused('monthly')
  if (limits.floor !== undefined && !floorHolds(tables, call, limits.floor)) return refused('floor')
  book(tables, call)
  return { ok: true, booked: { daily, monthly }, totals: readTotals(tables) }
}

/** Throws `StoreError` for a missing call of a day whose calls may have been removed. */
function refuseRolledUp(tables: LedgerTables, { day }: CallEntry): void {
  if (isRolledUp(tables, day)) throw rolledUpError(day)
}

/** Books a reservation, and counts the step. */
function book(tables: LedgerTables, call: CallEntry, step = 'reserve'): void {
  tables.calls.put([call.day, call.callId], { ...call, state: 'reserved' })
  tables.open.put([call.at, call.day, call.callId], true)
  addToDay(tables, call, { reservedCalls: 1, reserved: call.estimate })
  addToMonth(tables, call, call.estimate)
  addToLedger(tables, { reserved: call.estimate })
  commitStep(tables, call, `${step} ${call.callId} ${call.estimate}`)
}

function note(tables: LedgerTables, call: CallEntry): void {
  const old = tables.calls.get([call.day, call.callId])
  if (old && old.state !== 'reserved') return
  if (!old) refuseRolledUp(tables, call)
  // Books the call again, since its estimate and time may have changed.
  else takeOut(tables, old)
  book(tables, call, 'note')
}

function settle(tables: LedgerTables, call: CallEntry, settled: SettledCall): void {
  const { outcome, cost, settledAt } = settled
  const known = tables.calls.get([call.day, call.callId])
  const isEstimate = outcome === 'unknown' || settled.costSource === 'estimate'
  if (known?.state === 'charged' && (isEstimate || known.settled?.costSource !== 'estimate')) return
  if (outcome === 'unknown' && (known?.state === 'unknown' || known?.state === 'released')) return
  if (!known) refuseRolledUp(tables, call)
  else if (known.state !== 'released') takeOut(tables, known)
  tables.calls.put([call.day, call.callId], { ...call, state: outcome, settled })
  addToDay(tables, call, { [COUNTERS[outcome].calls]: 1, [COUNTERS[outcome].amount]: cost })
  addToMonth(tables, call, cost)
  addToLedger(tables, { spent: cost, calls: 1, estimatedCalls: isEstimate ? 1 : 0 })
  if (outcome === 'unknown') {
    tables.unknown.put([settledAt, call.day, call.callId], true)
    setUnknownAt(tables, settledAt)
  } else if (!isEstimate)
    tables.costs.put('costs', [cost, ...(tables.costs.get('costs') ?? [])].slice(0, MAX_RECENT_COSTS))
  commitStep(tables, call, `${outcome} ${call.callId} ${cost}`)
}

const COUNTERS = {
  reserved: { calls: 'reservedCalls', amount: 'reserved' },
  unknown: { calls: 'unknownCalls', amount: 'unknown' },
  charged: { calls: 'paidCalls', amount: 'charged' },
} as const

/** Removes an entry from every sum and order. The caller replaces or removes the entry itself. */
function takeOut(tables: LedgerTables, entry: LedgerEntry): void {
  const { state, at, day, callId, settled } = entry
  const amount = state === 'reserved' ? entry.estimate : (settled?.cost ?? 0)
  tables.open.remove([at, day, callId])
  addToDay(tables, entry, { [COUNTERS[state].calls]: -1, [COUNTERS[state].amount]: -amount })
  addToMonth(tables, entry, -amount)
  if (state === 'reserved') reduceReserved(tables, amount)
  else if (takeOutEnded(tables, entry)) addToLedger(tables, { spent: -amount, calls: -1, estimatedCalls: -1 })
}

/** Returns false for a call that ended under a version without totals, so that they lack it. */
function takeOutEnded(tables: LedgerTables, { state, day, callId, settled }: LedgerEntry): boolean {
  if (state === 'charged') return readTotals(tables).estimatedCalls > 0
  const key: [number, string, string] = [settled?.settledAt ?? 0, day, callId]
  const isKnown = tables.unknown.get(key) === true
  tables.unknown.remove(key)
  return isKnown
}
