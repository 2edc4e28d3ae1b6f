import type { LedgerEntry, PurchaseKind } from '../../src/contracts/store.js'
import type { FaultEvent, GatewayInstance, History, UpstreamCall } from './history.js'
import { hasRow } from './rows.js'

/**
 * Facts derived from a history: which entry belongs to which call, and which faults explain which
 * violation.
 */
export interface Facts {
  /** One entry per call: the most advanced state in any of the ledgers. */
  entries: LedgerEntry[]
  /** Returns true for an entry that only a discarded Redis had. */
  isDiscarded(entry: LedgerEntry): boolean
  entryOf(call: UpstreamCall): LedgerEntry | undefined
  /** Returns the calls sent under one reservation, refused attempts included. */
  callsOf(entry: LedgerEntry): UpstreamCall[]
  callById(requestId: string | undefined): UpstreamCall | undefined
  inputOf(entry: LedgerEntry): number | undefined
  purchaseOf(call: UpstreamCall): PurchaseKind | undefined
  /** Returns true if the gateway received the complete picture and booked its cost. */
  isSuccess(call: UpstreamCall): boolean
  /** Returns true if the gateway could not know that the calls were not billed. */
  mayBeOverbooked(entry: LedgerEntry, calls: readonly UpstreamCall[]): boolean
  mayTakeOver(earlier: UpstreamCall, later: UpstreamCall): boolean
  /** Returns true if a fault explains the `takeover` or `unguarded` of an entry. */
  isExplained(entry: LedgerEntry): boolean
  mayHaveLostResult(call: UpstreamCall, until: number): boolean
  mayHaveLostJob(earlier: UpstreamCall, later: UpstreamCall): boolean
  frozenMs(instance: string, from: number, to: number): number
  /** Returns true if the gateway was killed or got SIGTERM before the request ended. */
  wasEnding(instance: string, at: number, endedAt: number): boolean
  /** Time at which the last empty Redis was up. */
  emptiedAt: number
  /** The sums of a day were evicted. */
  hasLostSums: boolean
  /**
   * The first loss of the ledger. `isCertain`: a gateway that lived on had seen a step before it.
   */
  loss: { kind: FaultEvent['kind']; isCertain: boolean } | undefined
  /**
   * Returns true if the budget of the entry's team must have been closed, because of a loss or its
   * risk.
   */
  isClosedFor(entry: LedgerEntry): boolean
  isEventExplained(kind: string): boolean
  /** Unknown calls that the complete request history must have settled. */
  unlearned: LedgerEntry[]
}

/** Time until a gateway notices that Redis is back. */
const STORE_LAG_MS = 1_500
/** Time with a working store and a running gateway after which every pending write is done. */
const CALM_MS = 3_000
/** Inaccuracy of the recorded times, which are read just before or after the event. */
const CLOCK_ERROR_MS = 100
const TIMER_ERROR_MS = 500
/** Age after which a fault no longer explains a purchase. */
const FAULT_EFFECT_MS = 10_000

/** Returns how many milliseconds a time is before the reservation or after the end of an entry. */
function outside({ at, settled }: LedgerEntry, time: number): number {
  return Math.max(0, at - time, time - (settled?.settledAt ?? Number.POSITIVE_INFINITY))
}

/** Derives the facts of a history. */
export function collectFacts(history: History): Facts {
  const { calls, faults, timeoutMs, ledger } = history
  const entries = mergeLedgers([ledger, ...history.discardedLedgers])
  const instances = new Map(history.instances.map(instance => [instance.id, instance]))
  const requests = new Map(history.requests.map(request => [request.id, request]))
  const byId = new Map(calls.map(call => [call.requestId, call]))
  const kept = new Set(ledger.map(({ callId }) => callId))
  const storeFaults = faults.filter(({ kind }) => kind.startsWith('redis-')).map(withStoreLag)
  const emptied = faults.filter(({ kind }) => kind === 'redis-emptied' || kind === 'redis-flushed')
  const evicted = faults.filter(({ kind }) => kind === 'redis-evicted')
  const losses = [...emptied, ...evicted]
  const freezes = (instance: string) =>
    faults.filter(fault => fault.kind === 'gateway-frozen' && fault.instance === instance)
  const charged = new Map(
    entries.flatMap(entry => (entry.state === 'charged' ? [[upstreamIdOf(entry), entry] as const] : [])),
  )
  const entryOf = memoized(findEntry)

  /**
   * Finds the entry that names the call, else the last one of its input and gateway that was open
   * at the time of the call. That is unique, because a gateway has at most one flight per input.
   */
  function findEntry(call: UpstreamCall): LedgerEntry | undefined {
    const own = charged.get(call.requestId)
    if (own || call.input === undefined) return own
    const candidates = entries.filter(entry => {
      const request = requests.get(entry.requestId)
      if (request?.instance !== call.instance || request.input !== call.input) return false
      if (entry.at > call.at + CLOCK_ERROR_MS) return false
      // A refused attempt shares its entry with the attempt that succeeded.
      return entry.state !== 'charged' || call.billed === 'no'
    })
    return candidates.sort((one, other) => outside(one, call.at) - outside(other, call.at) || other.at - one.at)[0]
  }

  const frozenMs = (instance: string, from: number, to: number) =>
    freezes(instance).reduce((sum, fault) => sum + Math.max(0, Math.min(to, fault.to) - Math.max(from, fault.from)), 0)
  const killedAt = (instance: string) => endOf(instances.get(instance), 'killed')
  const hadStoreFault = (from: number, to: number) => storeFaults.some(fault => fault.from <= to && fault.to >= from)
  const wasCalm = (instance: string, from: number, to: number) =>
    longestGap([...storeFaults, ...freezes(instance)], from, to) >= CALM_MS
  const wasEmptied = (from: number, to: number) => emptied.some(fault => fault.from >= from && fault.from <= to)
  const purchaseOf = (call: UpstreamCall) => {
    const entry = entryOf(call)
    return entry && (entry.purchase ?? 'first')
  }
  const isGuarded = (call: UpstreamCall) => !['takeover', 'unguarded'].includes(purchaseOf(call) ?? 'first')
  /** An unguarded purchase is invisible to other processes until the store has it. */
  const wasUnseen = (earlier: UpstreamCall, later: UpstreamCall) =>
    purchaseOf(earlier) === 'unguarded' && !wasCalm(earlier.instance, earlier.at, later.at)
  /** A refused call has no entry, so its reason is not recorded: any fault explains it. */
  const isRefusalExplained = (earlier: UpstreamCall, later: UpstreamCall) =>
    later.billed === 'no' &&
    (hadStoreFault(later.at - FAULT_EFFECT_MS, later.at) ||
      (killedAt(earlier.instance) ?? Number.POSITIVE_INFINITY) <= later.at ||
      frozenMs(earlier.instance, earlier.at, later.at) > 0)
  /** The timeout ended during a freeze, before the gateway could read the response. */
  const wasTooLate = (call: UpstreamCall, instance: string, at: number) =>
    freezes(instance).some(
      ({ from, to }) => from <= at + CLOCK_ERROR_MS && to >= call.at && to - call.at >= timeoutMs - TIMER_ERROR_MS,
    )

  return {
    entries,
    isDiscarded: ({ callId }) => !kept.has(callId),
    entryOf,
    callsOf: entry => calls.filter(call => entryOf(call) === entry),
    callById: requestId => (requestId === undefined ? undefined : byId.get(requestId)),
    inputOf: entry => requests.get(entry.requestId)?.input,
    purchaseOf,
    isSuccess: call => call.billed === 'yes' && call.deliveries.length > 0 && charged.has(call.requestId),
    mayBeOverbooked(entry, sent) {
      const instance = requests.get(entry.requestId)?.instance
      if (instance === undefined) return false
      const { stoppedEarly } = instances.get(instance) ?? {}
      if (stoppedEarly || (killedAt(instance) ?? 0) >= entry.at) return true
      if (freezes(instance).some(({ to }) => to >= entry.at)) return true
      if (sent.some(({ status }) => status === undefined)) return true
      // The refusal was sent after the call was given up.
      if (sent.some(call => (call.endedAt ?? 0) >= (entry.settled?.settledAt ?? Number.POSITIVE_INFINITY))) return true
      // The refusal arrived after the timeout.
      return sent.some(call => (call.endedAt ?? 0) - (sent[0]?.at ?? 0) >= timeoutMs - TIMER_ERROR_MS)
    },
    mayTakeOver: (earlier, later) =>
      !isGuarded(later) || wasUnseen(earlier, later) || isRefusalExplained(earlier, later),
    isExplained(entry) {
      const instance = requests.get(entry.requestId)?.instance ?? ''
      const bought = calls.find(call => entryOf(call) === entry)?.at ?? entry.at
      const storeLostAt = instances.get(instance)?.storeLostAt ?? []
      const hadNoStore = storeLostAt.some(at => at <= bought && at >= entry.at - FAULT_EFFECT_MS)
      if (hadNoStore || hadStoreFault(entry.at - CLOCK_ERROR_MS, bought)) return true
      if (entry.purchase === 'unguarded') return false
      return history.instances.some(({ ended }) => ended && ended.at <= bought) || faults.some(isFreezeBefore(bought))
    },
    mayHaveLostResult: (call, until) =>
      call.deliveries.every(({ instance, at }) => {
        if (losses.some(({ from }) => from + CLOCK_ERROR_MS >= at && from <= until)) return true
        if (wasTooLate(call, instance, at) || instances.get(instance)?.stoppedEarly) return true
        const killed = killedAt(instance)
        return (
          killed !== undefined && killed >= at - CLOCK_ERROR_MS && killed <= until && !wasCalm(instance, at, killed)
        )
      }),
    mayHaveLostJob(earlier, later) {
      // Killed before it could store the job id, or stored it where only that gateway finds it.
      if (entryOf(earlier)?.jobId === undefined) return true
      if (hadStoreFault(earlier.at, (earlier.endedAt ?? earlier.at) + CLOCK_ERROR_MS)) return true
      if (purchaseOf(later) === 'unguarded' || wasUnseen(earlier, later) || isRefusalExplained(earlier, later))
        return true
      // Without the store no process could poll the job.
      return wasEmptied(earlier.at, later.at) || hadStoreFault(later.at - CALM_MS, later.at)
    },
    frozenMs,
    wasEnding(instance, at, endedAt) {
      const { ended, stoppingAt } = instances.get(instance) ?? {}
      if (stoppingAt !== undefined && stoppingAt <= endedAt + CLOCK_ERROR_MS) return true
      return ended !== undefined && ended.at >= at - CLOCK_ERROR_MS && ended.at <= endedAt + 1_000
    },
    emptiedAt: Math.max(Number.NEGATIVE_INFINITY, ...losses.map(({ to }) => to)),
    hasLostSums: evicted.length > 0,
    loss: lossOf(),
    isClosedFor(entry) {
      const instance = requests.get(entry.requestId)?.instance ?? ''
      if (evicted.some(({ from, to }) => entry.at > from + POLICY_LAG_MS && entry.at < to)) return true
      return losses.some(({ from, to }) => entry.at > to + CLOCK_ERROR_MS && hasSeenStep(instance, from))
    },
    isEventExplained: kind => isEventExplained(kind, history),
    unlearned: unlearnedOf(history),
  }

  /** The gateway process had booked a call before that time. */
  function hasSeenStep(instance: string, before: number): boolean {
    return entries.some(
      ({ requestId, settled }) =>
        requests.get(requestId)?.instance === instance && (settled?.settledAt ?? before) < before,
    )
  }

  function lossOf(): Facts['loss'] {
    const isCertain = losses.some(({ from, to }) =>
      history.instances.some(
        ({ id, ended }) => hasSeenStep(id, from - CLOCK_ERROR_MS) && (ended?.at ?? to) > to + LEDGER_CHECK_MS,
      ),
    )
    return losses[0] && { kind: losses[0].kind, isCertain }
  }
}

/** Interval at which gateways check the ledger, and at which they read the eviction policy. */
const LEDGER_CHECK_MS = 6_000
const POLICY_LAG_MS = 1_500

function isEventExplained(kind: string, { calls, faults }: History): boolean {
  if (kind === 'price') return true
  if (kind === 'implausible') return calls.some(({ hasWrongFigures }) => hasWrongFigures)
  const isUncertain = calls.some(({ billed, statedCost }) => billed === 'maybe' || statedCost !== undefined)
  if (kind === 'unknown' || kind === 'estimate') return isUncertain
  return faults.some(({ kind: fault }) => LOSSES.has(fault))
}

const LOSSES: ReadonlySet<string> = new Set(['redis-emptied', 'redis-flushed', 'redis-evicted'])

/** Finds calls that are still unknown though exactly one row of the history can be theirs. */
function unlearnedOf({ seed, calls, requests, ledger, learned, hasAllRows }: History): LedgerEntry[] {
  if (!hasAllRows) return []
  const inputOf = ({ requestId }: LedgerEntry) => requests.find(({ id }) => id === requestId)?.input
  const known = new Set(ledger.flatMap(idsOf))
  return learned.ledger.filter(entry => {
    if (entry.state !== 'unknown') return false
    const isNamed = idsOf(entry).length > 0
    if (isNamed) return calls.some(call => hasRow(call) && idsOf(entry).includes(call.requestId))
    const rivals = ledger.filter(({ resultId, ...other }) => resultId === entry.resultId && isNameless(other))
    const rows = calls.filter(call => call.input === inputOf(entry) && hasRow(call) && !known.has(call.requestId))
    return seed % 2 === 0 && rivals.length === 1 && rows.length === 1
  })
}

function idsOf({ jobId, settled }: Pick<LedgerEntry, 'jobId' | 'settled'>): string[] {
  return [jobId, settled?.upstreamRequestId].filter(id => id !== undefined)
}

const isNameless = (entry: Pick<LedgerEntry, 'jobId' | 'settled'>): boolean => idsOf(entry).length === 0

const RANK = { reserved: 0, unknown: 1, charged: 2 }

/** Merges ledgers. Of several entries for one call, the most advanced state counts. */
function mergeLedgers(ledgers: readonly LedgerEntry[][]): LedgerEntry[] {
  const best = new Map<string, LedgerEntry>()
  for (const entry of ledgers.flat()) {
    const known = best.get(entry.callId)
    if (!known || RANK[entry.state] > RANK[known.state]) best.set(entry.callId, entry)
  }
  return [...best.values()].sort((one, other) => one.at - other.at)
}

function isFreezeBefore(at: number): (fault: FaultEvent) => boolean {
  return ({ kind, from }) => kind === 'gateway-frozen' && from <= at
}

function upstreamIdOf(entry: LedgerEntry): string {
  return entry.settled?.upstreamRequestId ?? ''
}

function withStoreLag(fault: FaultEvent): FaultEvent {
  return { ...fault, to: fault.to + STORE_LAG_MS }
}

function endOf(instance: GatewayInstance | undefined, how: 'killed' | 'stopped'): number | undefined {
  return instance?.ended?.how === how ? instance.ended.at : undefined
}

/** Returns the longest interval between `from` and `to` outside all faults. */
function longestGap(faults: readonly FaultEvent[], from: number, to: number): number {
  let freeFrom = from
  let longest = 0
  for (const fault of [...faults].sort((one, other) => one.from - other.from)) {
    longest = Math.max(longest, Math.min(fault.from, to) - freeFrom)
    freeFrom = Math.max(freeFrom, fault.to)
  }
  return Math.max(longest, to - freeFrom)
}

function memoized<K extends object, V>(find: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return key => {
    if (!known.has(key)) known.set(key, find(key))
    return known.get(key) as V
  }
}
