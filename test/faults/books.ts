import type { LedgerEntry, PurchaseKind } from '../../src/storage.js'
import type { FaultEvent, GatewayLife, History, UpstreamCall } from './history.js'

/** A run's history, put in order: which entry belongs to which call, and what may excuse what. */
export interface Books {
  /** Each call once, as far as it got in any of the ledgers. */
  entries: LedgerEntry[]
  /** Only a Redis knew it that is gone. */
  isThrownAway(entry: LedgerEntry): boolean
  entryOf(call: UpstreamCall): LedgerEntry | undefined
  /** What was sent for one reservation, refused attempts included. */
  callsOf(entry: LedgerEntry): UpstreamCall[]
  callNamed(requestId: string | undefined): UpstreamCall | undefined
  questionOf(entry: LedgerEntry): number | undefined
  purchaseOf(call: UpstreamCall): PurchaseKind | undefined
  /** Its picture arrived whole and its cost is booked: its gateway had it in its hands. */
  isSuccess(call: UpstreamCall): boolean
  /** A call that surely was not billed may be booked all the same: its gateway could not know. */
  mayBookTooMuch(entry: LedgerEntry, calls: readonly UpstreamCall[]): boolean
  mayTakeOver(earlier: UpstreamCall, later: UpstreamCall): boolean
  /** Whether something had happened that explains why it was no ordinary purchase. */
  hasReason(entry: LedgerEntry): boolean
  mayHaveLostResult(call: UpstreamCall, until: number): boolean
  mayHaveLostJob(earlier: UpstreamCall, later: UpstreamCall): boolean
  frozenMs(life: string, from: number, to: number): number
  /** That gateway was killed, or told to end, before the request was over. */
  wasEnding(life: string, at: number, endedAt: number): boolean
  /** When the last Redis that lost everything was up again. */
  emptiedAt: number
}

/** A gateway notices only after a while that Redis is back. */
const STORE_LAG_MS = 1_500
/** With a store this long in order, and a gateway that runs, what waits has been written. */
const CALM_MS = 3_000
/** Clocks are read just before and just after things happen. */
const BLUR_MS = 100
const TIMER_BLUR_MS = 500
/** What happened longer ago explains nothing. */
const LONG_AGO_MS = 10_000

export function openBooks(history: History): Books {
  const { calls, faults, timeoutMs, ledger } = history
  const entries = united([ledger, ...history.thrownAway])
  const lives = new Map(history.lives.map(life => [life.id, life]))
  const requests = new Map(history.requests.map(request => [request.id, request]))
  const byName = new Map(calls.map(call => [call.requestId, call]))
  const kept = new Set(ledger.map(({ callId }) => callId))
  const storeFaults = faults.filter(({ kind }) => kind.startsWith('redis-')).map(lagging)
  const emptied = faults.filter(({ kind }) => kind === 'redis-emptied')
  const freezes = (life: string) => faults.filter(fault => fault.kind === 'gateway-frozen' && fault.life === life)
  const charged = new Map(
    entries.flatMap(entry => (entry.state === 'charged' ? [[nameIn(entry), entry] as const] : [])),
  )
  const entryOf = remembered(findEntry)

  /** The one that names it, else the last one that was planned before it: a gateway has one flight at a time for a question. */
  function findEntry(call: UpstreamCall): LedgerEntry | undefined {
    const own = charged.get(call.requestId)
    if (own || call.question === undefined) return own
    const candidates = entries.filter(entry => {
      const request = requests.get(entry.requestId)
      if (request?.life !== call.life || request.question !== call.question || entry.at > call.at) return false
      // An attempt that was refused shares its entry with the one that was not.
      return entry.state !== 'charged' || call.billed === 'no'
    })
    return candidates.sort((one, other) => other.at - one.at)[0]
  }

  const frozenMs = (life: string, from: number, to: number) =>
    freezes(life).reduce((sum, fault) => sum + Math.max(0, Math.min(to, fault.to) - Math.max(from, fault.from)), 0)
  const killedAt = (life: string) => endOf(lives.get(life), 'killed')
  const isStoreTroubled = (from: number, to: number) => storeFaults.some(fault => fault.from <= to && fault.to >= from)
  const wasCalm = (life: string, from: number, to: number) =>
    longestGap([...storeFaults, ...freezes(life)], from, to) >= CALM_MS
  const wasEmptied = (from: number, to: number) => emptied.some(fault => fault.from >= from && fault.from <= to)
  const purchaseOf = (call: UpstreamCall) => {
    const entry = entryOf(call)
    return entry && (entry.purchase ?? 'first')
  }
  const isGuarded = (call: UpstreamCall) => !['takeover', 'unguarded'].includes(purchaseOf(call) ?? 'first')
  /** Nobody could know of a purchase that was made without the store, until the store was told of it. */
  const wasUnseen = (earlier: UpstreamCall, later: UpstreamCall) =>
    purchaseOf(earlier) === 'unguarded' && !wasCalm(earlier.life, earlier.at, later.at)
  /** Where no entry tells why: what was refused is booked nowhere. */
  const hadReason = (earlier: UpstreamCall, later: UpstreamCall) =>
    later.billed === 'no' &&
    (isStoreTroubled(later.at - LONG_AGO_MS, later.at) ||
      (killedAt(earlier.life) ?? Number.POSITIVE_INFINITY) <= later.at ||
      frozenMs(earlier.life, earlier.at, later.at) > 0)
  /** Where the time ran out before the gateway could look at the answer. */
  const wasTooLate = (call: UpstreamCall, life: string, at: number) =>
    freezes(life).some(
      ({ from, to }) => from <= at + BLUR_MS && to >= call.at && to - call.at >= timeoutMs - TIMER_BLUR_MS,
    )

  return {
    entries,
    isThrownAway: ({ callId }) => !kept.has(callId),
    entryOf,
    callsOf: entry => calls.filter(call => entryOf(call) === entry),
    callNamed: requestId => (requestId === undefined ? undefined : byName.get(requestId)),
    questionOf: entry => requests.get(entry.requestId)?.question,
    purchaseOf,
    isSuccess: call => call.billed === 'yes' && call.deliveries.length > 0 && charged.has(call.requestId),
    mayBookTooMuch(entry, made) {
      const life = requests.get(entry.requestId)?.life
      if (life === undefined) return false
      const { gaveUp } = lives.get(life) ?? {}
      if (gaveUp || (killedAt(life) ?? 0) >= entry.at) return true
      if (freezes(life).some(({ to }) => to >= entry.at)) return true
      if (made.some(({ status }) => status === undefined)) return true
      // The time was over when the refusal came.
      return made.some(call => (call.endedAt ?? 0) - (made[0]?.at ?? 0) >= timeoutMs - TIMER_BLUR_MS)
    },
    mayTakeOver: (earlier, later) => !isGuarded(later) || wasUnseen(earlier, later) || hadReason(earlier, later),
    hasReason(entry) {
      const life = requests.get(entry.requestId)?.life ?? ''
      const bought = calls.find(call => entryOf(call) === entry)?.at ?? entry.at
      const noticed = lives.get(life)?.storeLostAt ?? []
      const isWithout = noticed.some(at => at <= bought && at >= entry.at - LONG_AGO_MS)
      if (isWithout || isStoreTroubled(entry.at - BLUR_MS, bought)) return true
      if (entry.purchase === 'unguarded') return false
      return history.lives.some(({ ended }) => ended && ended.at <= bought) || faults.some(isFreezeBefore(bought))
    },
    mayHaveLostResult: (call, until) =>
      call.deliveries.every(({ life, at }) => {
        if (emptied.some(({ from }) => from + BLUR_MS >= at && from <= until)) return true
        if (wasTooLate(call, life, at) || lives.get(life)?.gaveUp) return true
        const killed = killedAt(life)
        return killed !== undefined && killed >= at - BLUR_MS && killed <= until && !wasCalm(life, at, killed)
      }),
    mayHaveLostJob(earlier, later) {
      // Killed before it could note the job; or noted where only that gateway finds it again.
      if (entryOf(earlier)?.jobId === undefined) return true
      if (isStoreTroubled(earlier.at, (earlier.endedAt ?? earlier.at) + BLUR_MS)) return true
      if (purchaseOf(later) === 'unguarded' || wasUnseen(earlier, later) || hadReason(earlier, later)) return true
      // Nobody could be asked for the job.
      return wasEmptied(earlier.at, later.at) || isStoreTroubled(later.at - CALM_MS, later.at)
    },
    frozenMs,
    wasEnding(life, at, endedAt) {
      const { ended, stoppingAt } = lives.get(life) ?? {}
      if (stoppingAt !== undefined && stoppingAt <= endedAt + BLUR_MS) return true
      return ended !== undefined && ended.at >= at - BLUR_MS && ended.at <= endedAt + 1_000
    },
    emptiedAt: Math.max(Number.NEGATIVE_INFINITY, ...emptied.map(({ to }) => to)),
  }
}

const RANK = { reserved: 0, unknown: 1, charged: 2 }

/** A call may stand in several ledgers: the one that got furthest counts. */
function united(ledgers: readonly LedgerEntry[][]): LedgerEntry[] {
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

function nameIn(entry: LedgerEntry): string {
  return entry.settled?.upstreamRequestId ?? ''
}

function lagging(fault: FaultEvent): FaultEvent {
  return { ...fault, to: fault.to + STORE_LAG_MS }
}

function endOf(life: GatewayLife | undefined, how: 'killed' | 'stopped'): number | undefined {
  return life?.ended?.how === how ? life.ended.at : undefined
}

/** The longest time between `from` and `to` that lies in none of the faults. */
function longestGap(faults: readonly FaultEvent[], from: number, to: number): number {
  let freeFrom = from
  let longest = 0
  for (const fault of [...faults].sort((one, other) => one.from - other.from)) {
    longest = Math.max(longest, Math.min(fault.from, to) - freeFrom)
    freeFrom = Math.max(freeFrom, fault.to)
  }
  return Math.max(longest, to - freeFrom)
}

function remembered<K extends object, V>(find: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return key => {
    if (!known.has(key)) known.set(key, find(key))
    return known.get(key) as V
  }
}
