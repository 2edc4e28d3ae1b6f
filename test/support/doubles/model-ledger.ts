import {
  type BalanceSample,
  type CallEntry,
  type LedgerEntry,
  type LedgerStore,
  type LedgerTotals,
  StoreError,
  type TeamActivity,
  type UsageDay,
} from '../../../src/contracts/store.js'

/**
 * A `LedgerStore` of plain objects, for tests of its users. `store-suite.ts` compares the real
 * stores with it.
 */
export function modelLedger() {
  const calls = new Map<string, LedgerEntry>()
  /** Calls released before their reservation arrived. */
  const marks = new Set<string>()
  const activity: { team: string; day: string; activity: TeamActivity }[] = []
  const state = {
    isDown: false,
    mayHaveHappened: false,
    balance: undefined as BalanceSample | undefined,
    sequence: 0,
    unknownAt: 0,
    /** The newest first. */
    costs: [] as number[],
  }
  const up = () => {
    if (state.isDown) throw new StoreError('down', { mayHaveHappened: state.mayHaveHappened })
  }
  const where = (wanted: Partial<LedgerEntry>) =>
    [...calls.values()].filter(entry =>
      Object.entries(wanted).every(([name, value]) => entry[name as keyof LedgerEntry] === value),
    )
  const booked = (team: string, { day, month }: { day: string; month: string }) => ({
    daily: sum(where({ team, day })),
    monthly: sum(where({ team, month })),
  })
  const account = (): LedgerTotals => accountOf([...calls.values()], state)
  const hold = (call: CallEntry) => {
    state.sequence++
    calls.set(call.callId, { ...call, state: 'reserved' })
  }
  const store: LedgerStore = {
    async reserve(call, limits) {
      up()
      const now = booked(call.team, call)
      if (calls.has(call.callId) || marks.has(call.callId)) return { ok: true, booked: now, totals: account() }
      for (const window of ['daily', 'monthly'] as const) {
        const limit = limits[window]
        if (limit !== undefined && now[window] + call.estimate > limit)
          return { ok: false, window, booked: now, totals: account() }
      }
      const left = (state.balance?.remaining ?? 0) - account().reserved - call.estimate
      if (limits.floor !== undefined && state.balance && left < limits.floor)
        return { ok: false, window: 'floor', booked: now, totals: account() }
      hold(call)
      return { ok: true, booked: booked(call.team, call), totals: account() }
    },
    async note(call) {
      up()
      const known = calls.get(call.callId)?.state
      if (known === 'reserved' || (!known && !marks.has(call.callId))) hold(call)
    },
    async settle(call, settled) {
      up()
      const { state: known, settled: before } = calls.get(call.callId) ?? {}
      const isCorrection = before?.costSource === 'estimate' && settled.costSource !== 'estimate'
      if (known === 'charged' && !(isCorrection && settled.outcome === 'charged')) return account()
      if (settled.outcome === 'unknown' && (known === 'unknown' || marks.has(call.callId))) return account()
      state.sequence++
      marks.delete(call.callId)
      calls.set(call.callId, { ...call, state: settled.outcome, settled })
      if (settled.outcome === 'unknown') state.unknownAt = Math.max(state.unknownAt, settled.settledAt)
      else if (settled.costSource !== 'estimate') state.costs.unshift(settled.cost)
      return account()
    },
    async release(call, options) {
      up()
      if (calls.get(call.callId)?.state === 'charged') return false
      const wasOpen = calls.delete(call.callId)
      if (wasOpen) state.sequence++
      if (options?.mayStillArrive) marks.add(call.callId)
      return wasOpen
    },
    async entry(day, callId) {
      up()
      return where({ day, callId })[0]
    },
    async reservedBefore(before, limit) {
      up()
      const old = where({ state: 'reserved' }).filter(({ at }) => at <= before)
      return old.sort((one, other) => one.at - other.at).slice(0, limit)
    },
    async unknownSince(since, limit) {
      up()
      const at = (entry: LedgerEntry) => entry.settled?.settledAt ?? 0
      const found = where({ state: 'unknown' }).filter(entry => at(entry) >= since)
      const name = ({ day, callId }: LedgerEntry) => `${day}/${callId}`
      const byName = (one: LedgerEntry, other: LedgerEntry) => (name(one) < name(other) ? -1 : 1)
      return found.sort((one, other) => at(one) - at(other) || byName(one, other)).slice(0, limit)
    },
    async totals() {
      up()
      return account()
    },
    async recentCosts() {
      up()
      return state.costs.slice(0, 200)
    },
    async share() {
      up()
    },
    async booked(team, windows) {
      up()
      return booked(team, windows)
    },
    async addActivity(team, day, counted) {
      up()
      activity.push({ team, day, activity: { ...counted } })
    },
    /** Omits the activity, and days without bookings. */
    async usage(month, team) {
      up()
      const own = where(team === undefined ? { month } : { month, team })
      const days = [...new Set(own.map(({ day }) => day))].sort()
      const teams = [...new Set(own.map(entry => entry.team))].sort()
      const rows = days.flatMap(day => teams.map(name => statement(name, day, where({ day, team: name }))))
      return rows.filter(row => row.paidCalls + row.unknownCalls + row.reservedCalls > 0)
    },
    async *entries(day) {
      up()
      yield where({ day })
    },
    async recordBalance(sample) {
      up()
      state.balance = sample
    },
    async balance() {
      up()
      return state.balance
    },
  }
  return { store, calls, activity, state }
}

function accountOf(entries: LedgerEntry[], state: { sequence: number; unknownAt: number }): LedgerTotals {
  const reserved = entries.filter(({ state }) => state === 'reserved')
  const ended = entries.filter(({ state }) => state !== 'reserved')
  const isEstimate = ({ state, settled }: LedgerEntry) => state === 'unknown' || settled?.costSource === 'estimate'
  return {
    epoch: state.sequence > 0 ? 'epoch' : '',
    checksum: `${state.sequence}`,
    sequence: state.sequence,
    spent: sum(ended),
    reserved: sum(reserved),
    reservedCalls: reserved.length,
    calls: ended.length,
    estimatedCalls: ended.filter(isEstimate).length,
    unknownAt: state.unknownAt,
  }
}

function statement(team: string, day: string, entries: LedgerEntry[]): UsageDay {
  const of = (state: LedgerEntry['state']) => entries.filter(entry => entry.state === state)
  return {
    team,
    day,
    requests: 0,
    hits: 0,
    coalesced: 0,
    savedByCache: 0,
    savedByCoalescing: 0,
    paidCalls: of('charged').length,
    charged: sum(of('charged')),
    unknownCalls: of('unknown').length,
    unknown: sum(of('unknown')),
    reservedCalls: of('reserved').length,
    reserved: sum(of('reserved')),
    shared: 0,
  }
}

function sum(entries: LedgerEntry[]): number {
  return entries.reduce((total, entry) => total + (entry.settled?.cost ?? entry.estimate), 0)
}
