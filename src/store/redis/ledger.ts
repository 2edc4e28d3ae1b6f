import { randomUUID } from 'node:crypto'
import { defined } from '../../contracts/defined.js'
import type {
  Booked,
  BudgetWindow,
  LedgerBooks,
  LedgerStore,
  LedgerTotals,
  ReserveOutcome,
} from '../../contracts/store.js'
import { rolledUpError } from '../roll-up.js'
import { ACTIVITY_COUNTERS, checkAmounts, LEDGER_COUNTERS, MAX_RECENT_COSTS } from '../totals.js'
import type { RedisConnection } from './connection.js'
import { ACCEPT, decodeLoss, witnessArguments } from './ledger-identity.js'
import {
  encodeEntry,
  encodeReserved,
  type LedgerKeys,
  ledgerKeys,
  memberOf,
  RELEASED,
  scriptKeys,
} from './ledger-keys.js'
import { createReads } from './ledger-reads.js'
import {
  ADD_ACTIVITY,
  NOTE,
  READ_BOOKED,
  READ_TOTALS,
  RECORD_BALANCE,
  RELEASE,
  RESERVE,
  ROLLED_UP,
  SETTLE,
} from './ledger-scripts.js'
import { createRollUp } from './roll-up.js'
import { createSharing } from './sharing.js'

/**
 * Creates the ledger in Redis. Its keys have no time to live, so a `volatile-*` policy never evicts
 * them.
 */
export function createLedger(connection: RedisConnection, prefix: string): LedgerStore & LedgerBooks {
  const scripts = defineScripts(connection)
  const keys = ledgerKeys(prefix)
  const keysOf = (windows: { day: string; month: string }) => scriptKeys(keys, windows)
  return {
    ...createReads(connection, keys),
    ...createRollUp(connection, keys),
    ...createAccountSteps(scripts, keys),
    async reserve(call, limits, witness) {
      checkAmounts({ at: call.at, estimate: call.estimate, ...limits })
      const { callId, team, estimate, at } = call
      const { daily = '', monthly = '', floor = '' } = limits
      const values = [callId, team, estimate, daily, monthly, encodeReserved(call), at, memberOf(call), floor]
      return toOutcome(await scripts.reserve(...keysOf(call), ...values, randomUUID(), ...witnessArguments(witness)))
    },
    async note(call) {
      const { callId, team, estimate, at } = call
      checkAmounts({ at, estimate })
      const values = [callId, team, estimate, encodeReserved(call), at, memberOf(call)]
      refuseRolledUp(call, await scripts.note(...keysOf(call), ...values, randomUUID()))
    },
    async settle(call, settled, witness) {
      const { callId, team, estimate } = call
      const { outcome, cost, settledAt, costSource } = settled
      checkAmounts({ cost, settledAt, estimate })
      const value = encodeEntry({ ...call, state: outcome, settled }, cost)
      const isEstimate = outcome === 'unknown' || costSource === 'estimate' ? 1 : 0
      const values = [callId, team, outcome, cost, value, memberOf(call), settledAt, isEstimate, MAX_RECENT_COSTS]
      const answer = await scripts.settle(...keysOf(call), ...values, randomUUID(), ...witnessArguments(witness))
      refuseRolledUp(call, answer)
      return toTotals(answer)
    },
    async release(call, options) {
      const mark = options?.mayStillArrive ? RELEASED : ''
      return (await scripts.release(...keysOf(call), call.callId, call.team, memberOf(call), mark, randomUUID())) === 1
    },
    share: createSharing(connection, { totals: keys.totals, share: keys.share }),
    async booked(team, windows) {
      return toBooked(await scripts.readBooked(...keysOf(windows), team))
    },
  }
}

/** Creates the steps and reads that concern all teams together. */
function createAccountSteps(
  scripts: Scripts,
  keys: LedgerKeys,
): Pick<LedgerStore & LedgerBooks, 'totals' | 'accept' | 'addActivity' | 'recordBalance'> {
  return {
    async totals(witness, { isMarking = false, windows = { day: '', month: '' } } = {}) {
      const all = scriptKeys(keys, windows)
      const newEpoch = isMarking ? randomUUID() : ''
      return toTotals(await scripts.readTotals(...all, ...witnessArguments(witness), newEpoch))
    },
    async accept(known = '') {
      await scripts.accept(keys.account, randomUUID(), known)
    },
    async addActivity(team, day, activity) {
      checkAmounts({ ...activity })
      const pairs = ACTIVITY_COUNTERS.filter(name => activity[name] > 0).flatMap(name => [name, activity[name]])
      if (pairs.length > 0) await scripts.addActivity(keys.totals(day), team, ...pairs)
    },
    async recordBalance({ remaining, at, since = at, slack = 0 }) {
      checkAmounts({ at, since, slack, remaining: Math.abs(remaining) })
      await scripts.recordBalance(keys.balance, at, remaining, since, slack)
    },
  }
}

type Scripts = ReturnType<typeof defineScripts>

function defineScripts(connection: RedisConnection) {
  return {
    reserve: connection.script('ledgerReserve', 9, RESERVE),
    note: connection.script('ledgerNote', 9, NOTE),
    settle: connection.script('ledgerSettle', 9, SETTLE),
    release: connection.script('ledgerRelease', 9, RELEASE),
    readBooked: connection.script('ledgerBooked', 9, READ_BOOKED),
    readTotals: connection.script('ledgerTotals', 9, READ_TOTALS),
    accept: connection.script('ledgerAccept', 1, ACCEPT),
    addActivity: connection.script('ledgerAddActivity', 1, ADD_ACTIVITY),
    recordBalance: connection.script('ledgerRecordBalance', 1, RECORD_BALANCE),
  }
}

function refuseRolledUp({ day }: { day: string }, result: unknown): void {
  if (result === ROLLED_UP) throw rolledUpError(day)
}

function toOutcome(answer: unknown): ReserveOutcome {
  const [result, , , totals] = answer as ['ok' | BudgetWindow | 'floor' | 'lost', string, string, string[]]
  const after = { booked: toBooked(answer), totals: toTotals(totals) }
  return result === 'ok' ? { ok: true, ...after } : { ok: false, window: result, ...after }
}

function toBooked(answer: unknown): Booked {
  const [, daily, monthly] = answer as [string, string, string]
  return { daily: Number(daily), monthly: Number(monthly) }
}

const TOTALS = [...LEDGER_COUNTERS, 'reservedCalls'] as const

/** Reads the totals in the order of the script. */
function toTotals(answer: unknown): LedgerTotals {
  const [epoch = '', checksum = '', lost = '', ...counters] = answer as string[]
  const amounts = Object.fromEntries(TOTALS.map((name, index) => [name, Number(counters[index] ?? 0)]))
  const loss = lost === '' ? undefined : decodeLoss(lost)
  return { epoch, checksum, ...(amounts as Record<(typeof TOTALS)[number], number>), ...defined({ loss }) }
}
