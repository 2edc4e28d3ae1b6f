import {
  type BalanceSample,
  type CallEntry,
  type LedgerStore,
  type SettledCall,
  StoreError,
  type TeamActivity,
} from '../../src/storage.js'

/** A ledger store in plain objects for tests of what is built on one; the real ones are held to `store-suite.ts`. */
export function modelLedger() {
  const calls = new Map<string, { call: CallEntry; state: 'reserved' | 'charged' | 'unknown'; cost: number }>()
  const activity: { team: string; day: string; activity: TeamActivity }[] = []
  const state: { isDown: boolean; mayHaveHappened: boolean; balance: BalanceSample | undefined } = {
    isDown: false,
    mayHaveHappened: false,
    balance: undefined,
  }
  const up = () => {
    if (state.isDown) throw new StoreError('down', { mayHaveHappened: state.mayHaveHappened })
  }
  const booked = (team: string, windows: { day: string; month: string }) => {
    const sum = { daily: 0, monthly: 0 }
    for (const { call, cost } of calls.values()) {
      if (call.team !== team) continue
      if (call.day === windows.day) sum.daily += cost
      if (call.month === windows.month) sum.monthly += cost
    }
    return sum
  }
  const store: LedgerStore = {
    async reserve(call, limits) {
      up()
      const now = booked(call.team, call)
      for (const window of ['daily', 'monthly'] as const) {
        const limit = limits[window]
        if (limit !== undefined && now[window] + call.estimate > limit) return { ok: false, window, booked: now }
      }
      calls.set(call.callId, { call, state: 'reserved', cost: call.estimate })
      return { ok: true, booked: booked(call.team, call) }
    },
    async settle(call, settled: SettledCall) {
      up()
      const known = calls.get(call.callId)
      if (known && known.state !== 'reserved') return
      calls.set(call.callId, { call, state: settled.outcome, cost: settled.cost })
    },
    async release(call) {
      up()
      if (calls.get(call.callId)?.state === 'reserved') calls.delete(call.callId)
    },
    async booked(team, windows) {
      up()
      return booked(team, windows)
    },
    async addActivity(team, day, counted) {
      up()
      activity.push({ team, day, activity: { ...counted } })
    },
    usage: async () => [],
    entries: async () => [],
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
