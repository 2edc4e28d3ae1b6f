import {
  type CallEntry,
  type LedgerEntry,
  type LedgerStep,
  type LedgerStore,
  type StepSpool,
  StoreError,
} from '../../src/contracts/store.js'
import type { Caller } from '../../src/contracts/types.js'
import { PriceEstimate } from '../../src/credits/account/price.js'
import { CreditLedger } from '../../src/credits/ledger.js'
import type { CreditsObserver } from '../../src/credits/observer.js'
import { Recovery, type RecoveryOptions } from '../../src/credits/recovery.js'
import { UnsavedSteps } from '../../src/credits/unsaved.js'
import { createBudgetCalendar } from '../../src/credits/windows.js'
import type { PlannedCall } from '../../src/segment/ports.js'
import { NO_TOTALS } from '../store/suite/samples.js'
import { aCaller } from '../support/doubles/team.js'
import { pagesOf } from '../support/entries-of.js'
import { eventually } from '../support/eventually.js'

export const NOON = Date.parse('2026-11-22T12:00:00Z')
export const ESTIMATE = 100
export const ORPHAN_AFTER_MS = 600_000

/**
 * Behaviour of the store: `cut` applies a step and loses its response, `frozen` applies it after
 * `thaw`.
 */
export type StoreMode = 'up' | 'down' | 'cut' | 'frozen'

/** One store and one spool for several processes. */
export function ledgerWorld(changes: { pause?: () => Promise<void> } = {}) {
  const world = {
    /** By call id. */
    entries: new Map<string, LedgerEntry>(),
    spooled: [] as { id: string; step: LedgerStep }[],
    /** Calls released with `mayStillArrive`, whose late reservation books nothing. */
    marks: new Set<string>(),
    nextStep: 0,
    isSpoolBroken: false,
    now: NOON,
    storeMode: 'up' as StoreMode,
    late: [] as (() => void)[],
    /** Steps that arrived at the store, in order. */
    arrived: [] as string[],
    /** Error the store throws for a step although it is up. */
    refuse: (_kind: string, _callId: string): Error | undefined => undefined,
    pause: changes.pause ?? (async () => {}),
    thaw() {
      for (const step of world.late.splice(0)) step()
      world.storeMode = 'up'
    },
    booked: (team: string) => sum([...world.entries.values()].filter(entry => entry.team === team).map(amountOf)),
    events: [] as string[],
  }
  return world
}

export type World = ReturnType<typeof ledgerWorld>

/** Records the ends of calls and failures, and ignores the other events. */
export function recordingObserver(record: (event: string) => void): CreditsObserver {
  return {
    storeFailed: (_error, operation) => record(`failed ${operation}`),
    unknownSettled: (team, booked) => record(`${team} no longer unknown ${booked}`),
    callBooked: (team, outcome, cost) => record(`${team} ${outcome} ${cost}`),
    ledgerStepLost: step => record(`lost ${step.kind} ${step.call.callId}`),
    orphanSettled: (entry, fate) => record(`orphan ${entry.callId} ${fate}`),
    creditStateChanged: () => {},
    accountEventRecorded: () => {},
    balanceRequestFailed: () => {},
    figureImplausible: ({ figure, claimed }) => record(`implausible ${figure} ${claimed}`),
  }
}

/**
 * Starts a gateway process over the world's store and spool. A killed process stops at its next
 * step.
 */
export function startProcess(world: World, changes: ProcessChanges = {}) {
  const life = { isAlive: true }
  const pass = async () => {
    await world.pause()
    if (!life.isAlive) await new Promise(() => {})
  }
  const store = { ...modelStore(world, pass), ...mortal(changes.store ?? {}, life) }
  const spool = { ...modelSpool(world, pass), ...mortal(changes.spool ?? {}, life) }
  const price = new PriceEstimate(ESTIMATE)
  const record = (event: string) => world.events.push(event)
  const observer = recordingObserver(record)
  const now = () => world.now + (changes.clockAheadMs ?? 0)
  const unsaved = new UnsavedSteps({
    store,
    spool,
    isSpoolDurable: changes.isSpoolDurable ?? true,
    retryMs: changes.retryMs ?? 2 ** 31 - 1,
    isStoreUp: () => world.storeMode === 'up' || world.storeMode === 'cut',
    observer,
  })
  const ledger = new CreditLedger({
    store,
    unsaved,
    account: {
      price,
      gate: { refusal: () => undefined },
      state: { apply: async ({ kind }) => void record(`credits ${kind}`) },
      isPlausibleCost: async cost => changes.isPlausibleCost?.(cost) ?? true,
      balance: { latest: undefined },
      balanceReported: async ({ remaining }) => void record(`balance ${remaining}`),
      costFromBalance: async () => undefined,
    },
    reserve: changes.reserve ?? 0,
    now,
    calendar: createBudgetCalendar(changes.timeZone ?? 'UTC'),
    whenStoreIsDown: changes.whenStoreIsDown ?? 'closed',
    observer,
  })
  const recovery = new Recovery({
    store,
    unsaved,
    isOwn: callId => ledger.isOwn(callId),
    orphanAfterMs: ORPHAN_AFTER_MS,
    everyMs: 1,
    resume: changes.resume ?? (async () => {}),
    now,
    observer,
  })
  const kill = () => {
    life.isAlive = false
    void unsaved.close()
    void recovery.close()
  }
  return { store, spool, unsaved, ledger, recovery, price, kill }
}

export interface ProcessChanges {
  whenStoreIsDown?: 'closed' | 'open'
  /** Default: 0. */
  reserve?: number
  isSpoolDurable?: boolean
  retryMs?: number
  clockAheadMs?: number
  timeZone?: string
  store?: Partial<LedgerStore>
  spool?: Partial<StepSpool>
  resume?: RecoveryOptions['resume']
  /** Default: every cost is believed. */
  isPlausibleCost?(cost: number): boolean
}

export function aPlan(callId: string, caller: Caller = aCaller(), changes: Partial<PlannedCall> = {}): PlannedCall {
  return { callId, at: NOON, caller, requestId: 'r', cacheKey: 'k', purchase: 'first', ...changes }
}

/** Returns a reserved entry, as a dead process leaves it. */
export function anEntry(callId: string, changes: Partial<LedgerEntry> = {}): LedgerEntry {
  const windows = { at: NOON, day: '2026-11-22', month: '2026-11' }
  const call = { callId, team: 'vision', keyId: 'k1', requestId: 'r', resultId: 'k', estimate: ESTIMATE, ...windows }
  return { ...call, state: 'reserved', ...changes }
}

/** Resolves once all pending callbacks have run. */
export function quiet(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Polls until a condition holds. */
export async function until(holds: () => boolean): Promise<void> {
  await eventually('the condition never held', holds)
}

/** Creates a promise that the test resolves. */
export function gate() {
  let open = () => {}
  const passed = new Promise<void>(resolve => {
    open = resolve
  })
  return { passed, open }
}

/** Wraps methods so that they never resolve once the process is dead. */
function mortal<T extends object>(methods: T, life: { isAlive: boolean }): T {
  const mortals = Object.entries(methods).map(([name, method]) => [
    name,
    async (...of: unknown[]) => (life.isAlive ? method(...of) : new Promise(() => {})),
  ])
  return Object.fromEntries(mortals)
}

/** Implements `LedgerStore` with plain objects. */
function modelStore(world: World, pass: () => Promise<void>): LedgerStore {
  const { entries } = world
  const reach = async <T>(what: string, callId: string, step: () => T): Promise<T> => {
    await pass()
    if (world.storeMode === 'down') throw new StoreError('down', { mayHaveHappened: false })
    const refusal = world.refuse(what, callId)
    if (refusal) throw refusal
    if (world.storeMode === 'frozen') {
      world.late.push(step)
      throw new StoreError('frozen')
    }
    const wasCut = world.storeMode === 'cut'
    const answer = step()
    world.arrived.push(`${what} ${callId}`)
    if (wasCut) throw new StoreError('cut')
    await pass()
    return answer
  }
  const put = (call: CallEntry, end: Pick<LedgerEntry, 'state' | 'settled'>) =>
    void entries.set(call.callId, { ...call, ...end })
  const booked = ({ team }: { team: string }) => ({ daily: world.booked(team), monthly: world.booked(team) })
  return {
    reserve: (call, limits) =>
      reach('reserve', call.callId, () => {
        const before = booked(call)
        if (entries.has(call.callId) || world.marks.has(call.callId))
          return { ok: true, booked: before, totals: NO_TOTALS }
        for (const window of ['daily', 'monthly'] as const) {
          const limit = limits[window]
          if (limit !== undefined && before[window] + call.estimate > limit)
            return { ok: false, window, booked: before, totals: NO_TOTALS }
        }
        put(call, { state: 'reserved' })
        return { ok: true, booked: booked(call), totals: NO_TOTALS }
      }),
    note: call =>
      reach('note', call.callId, () => {
        if (world.marks.has(call.callId)) return
        if ((entries.get(call.callId)?.state ?? 'reserved') === 'reserved') put(call, { state: 'reserved' })
      }),
    settle: (call, settled) =>
      reach('settle', call.callId, () => {
        const { state = 'reserved', settled: before } = entries.get(call.callId) ?? {}
        const isCorrection = before?.costSource === 'estimate' && settled.costSource !== 'estimate'
        if (world.marks.has(call.callId) && settled.outcome === 'unknown') return NO_TOTALS
        if (state === 'reserved' || (settled.outcome === 'charged' && (state === 'unknown' || isCorrection)))
          put(call, { state: settled.outcome, settled })
        return NO_TOTALS
      }),
    release: (call, options) =>
      reach('release', call.callId, () => {
        const entry = entries.get(call.callId)
        if (entry?.state !== 'charged' && options?.mayStillArrive) world.marks.add(call.callId)
        return entry?.state !== 'charged' && entries.delete(call.callId)
      }),
    entry: (day, callId) =>
      reach('entry', callId, () => {
        const entry = entries.get(callId)
        return entry?.day === day ? entry : undefined
      }),
    reservedBefore: (before, limit) =>
      reach('open', '', () =>
        [...entries.values()]
          .filter(({ state, at }) => state === 'reserved' && at <= before)
          .sort((one, other) => one.at - other.at)
          .slice(0, limit),
      ),
    unknownSince: async () => [],
    totals: async () => NO_TOTALS,
    recentCosts: async () => [],
    share: async () => {},
    booked: async team => booked({ team }),
    addActivity: async () => {},
    usage: async () => [],
    entries: () => pagesOf([...entries.values()]),
    recordBalance: async () => {},
    balance: async () => undefined,
  }
}

function modelSpool(world: World, pass: () => Promise<void>): StepSpool {
  const reach = async <T>(step: () => T): Promise<T> => {
    await pass()
    if (world.isSpoolBroken) throw new Error('no disk')
    const answer = step()
    await pass()
    return answer
  }
  return {
    add: step => reach(() => void world.spooled.push({ id: String(world.nextStep++), step })),
    all: () => reach(() => [...world.spooled]),
    remove: id =>
      reach(() => {
        world.spooled = world.spooled.filter(waiting => waiting.id !== id)
      }),
    close: async () => {},
  }
}

function amountOf({ settled, estimate }: LedgerEntry): number {
  return settled?.cost ?? estimate
}

function sum(amounts: number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0)
}
