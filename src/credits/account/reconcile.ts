import type { Nanocredits } from '../../nanocredits.js'
import type { AccountBook, LedgerEntry } from '../../storage.js'
import {
  type AccountEvent,
  type AccountRecord,
  type Anchor,
  type DifferenceKind,
  MAX_EVENTS,
  MAX_MONTHS,
  type MonthSums,
} from './record.js'

/** The account's balance, seen together with the books. */
export interface Observation {
  remaining: Nanocredits
  at: number
  /** The month it is then, in `BUDGET_TIMEZONE`. */
  month: string
  book: AccountBook
  /** Calls that the balance may already hold and the books do not, or the other way round; 0 where nothing else was under way. */
  overlap: number
  /** Calls that ended as unknown since the anchor and still are; only looked at where `overlap` is 0. */
  unknown: readonly LedgerEntry[]
}

/** What an unknown call turns out to have cost: the account says so. */
export interface Resolution {
  entry: LedgerEntry
  /** 0: it was not billed. */
  cost: Nanocredits
}

export interface Reconciled {
  /** The next record; absent while nothing is to be written. */
  record?: AccountRecord
  event?: AccountEvent
  /** Calls to be ended first: the next observation then agrees. */
  resolutions: Resolution[]
  /** What a call cost on average, where none of them told it. */
  meanCost?: Nanocredits
}

export interface ReconcileTerms {
  /** More than any one call plausibly costs. */
  maxCost: Nanocredits
  newId(): string
}

/**
 * Holds the balance against what was booked since the last one that was agreed on. What is missing or left over is named by the smallest
 * explanation that holds it, and booked as a top-up or as drift, never dropped.
 */
export function reconcile(
  before: AccountRecord | undefined,
  seen: Observation,
  { maxCost, newId }: ReconcileTerms,
): Reconciled {
  if (!before) return seen.overlap === 0 ? { record: firstRecord(seen), resolutions: [] } : { resolutions: [] }
  const { anchor } = before
  if (isOlder(seen, anchor)) return { resolutions: [] }
  const gone = anchor.remaining - seen.remaining - (seen.book.spent - anchor.spent)
  const calls = Math.max(0, seen.book.calls - anchor.calls)
  const estimated = Math.max(0, seen.book.estimatedCalls - anchor.estimatedCalls)
  // Segmind's figures have more digits than ours: each call, and both balances, may be rounded.
  const rounding = calls + 2
  if (seen.overlap > 0)
    return looseLook(before, seen, gone, { slack: rounding + (seen.overlap + estimated) * maxCost, newId })
  if (Math.abs(gone) <= rounding) return agreed(before, seen, gone, undefined)
  const { loose } = anchor
  if (loose && Math.abs(gone) <= loose.slack) return corrected(before, seen, gone, loose.eventId)
  const resolutions = resolve(seen.unknown, gone, { rounding, maxCost, isSure: estimated <= seen.unknown.length })
  if (resolutions.length > 0) return { resolutions }
  const kind = kindOf(gone, { estimated, unknown: seen.unknown.length, maxCost })
  const event = { id: newId(), at: seen.at, month: seen.month, kind, amount: amountOf(kind, gone) }
  const told = agreed(before, seen, gone, event)
  if (kind !== 'estimate' || calls === 0 || calls !== estimated || seen.unknown.length > 0) return told
  return { ...told, meanCost: Math.round((seen.book.spent - anchor.spent + gone) / calls) }
}

function isOlder({ at, book }: Observation, anchor: Anchor): boolean {
  return book.sequence < anchor.sequence || (book.sequence === anchor.sequence && at <= anchor.at)
}

/** One unknown call costs what is missing; several can be told apart only when none was billed. */
function resolve(
  unknown: readonly LedgerEntry[],
  gone: Nanocredits,
  { rounding, maxCost, isSure }: { rounding: number; maxCost: Nanocredits; isSure: boolean },
): Resolution[] {
  const booked = unknown.reduce((sum, { settled }) => sum + (settled?.cost ?? 0), 0)
  const cost = gone + booked
  if (unknown.length === 0 || !isSure) return []
  if (Math.abs(cost) <= rounding) return unknown.map(entry => ({ entry, cost: 0 }))
  const [entry, ...others] = unknown
  return entry && others.length === 0 && cost > 0 && cost <= maxCost ? [{ entry, cost }] : []
}

function kindOf(
  gone: Nanocredits,
  { estimated, unknown, maxCost }: { estimated: number; unknown: number; maxCost: Nanocredits },
): DifferenceKind {
  if (Math.abs(gone) <= estimated * maxCost) return unknown > 0 ? 'unknown' : 'estimate'
  return gone < 0 ? 'topUp' : 'foreign'
}

function amountOf(kind: DifferenceKind, gone: Nanocredits): Nanocredits {
  return kind === 'topUp' ? -gone : gone
}

/** Calls were under way: only what they cannot explain is told, at once, and corrected at the next quiet look. */
function looseLook(
  before: AccountRecord,
  seen: Observation,
  gone: Nanocredits,
  { slack, newId }: { slack: Nanocredits; newId(): string },
): Reconciled {
  if (Math.abs(gone) <= slack) return { resolutions: [] }
  const kind = gone < 0 ? 'topUp' : 'foreign'
  const event = { id: newId(), at: seen.at, month: seen.month, kind, amount: amountOf(kind, gone) } as const
  const anchor = {
    ...before.anchor,
    remaining: before.anchor.remaining - gone,
    loose: { eventId: event.id, slack: slack + (before.anchor.loose?.slack ?? 0) },
  }
  return {
    record: booked(before, { anchor, gone, event, at: before.anchor.at, spent: 0, month: seen.month }),
    event,
    resolutions: [],
  }
}

/** The quiet look after loose ones: what they were wrong by belongs to the last of them. */
function corrected(before: AccountRecord, seen: Observation, gone: Nanocredits, eventId: string): Reconciled {
  const last = before.events.find(({ id }) => id === eventId)
  if (!last) return agreed(before, seen, gone, undefined)
  const kind = last.kind === 'topUp' ? 'topUp' : 'foreign'
  const event = { ...last, amount: last.amount + amountOf(kind, gone) }
  const others = before.events.filter(({ id }) => id !== eventId)
  const { event: _told, ...reconciled } = agreed({ ...before, events: others }, seen, gone, event)
  return reconciled
}

function agreed(
  before: AccountRecord,
  seen: Observation,
  gone: Nanocredits,
  event: AccountEvent | undefined,
): Reconciled {
  const anchor = anchorOf(seen)
  const spent = seen.book.spent - before.anchor.spent
  const record = booked(before, { anchor, gone, event, at: seen.at, spent, month: seen.month })
  return { record, ...(event && { event }), resolutions: [] }
}

interface Movement {
  anchor: Anchor
  gone: Nanocredits
  event: AccountEvent | undefined
  at: number
  spent: Nanocredits
  month: string
}

/** The record after a movement, in which opening − closing + topUps = booked + drift holds again. */
function booked(before: AccountRecord, { anchor, gone, event, at, spent, month }: Movement): AccountRecord {
  const topUps = event?.kind === 'topUp' ? -gone : 0
  const drift = event?.kind === 'topUp' ? 0 : gone
  const agreedBefore = { remaining: before.anchor.remaining, at: before.anchor.at }
  const sums = before.months[month] ?? { opening: agreedBefore, closing: agreedBefore, topUps: 0, booked: 0, drift: 0 }
  const next: MonthSums = {
    opening: sums.opening,
    closing: { remaining: anchor.remaining, at },
    topUps: sums.topUps + topUps,
    booked: sums.booked + spent,
    drift: sums.drift + drift,
  }
  return {
    anchor,
    topUps: before.topUps + topUps,
    drift: before.drift + drift,
    months: newest({ ...before.months, [month]: next }),
    events: event ? [...before.events, event].slice(-MAX_EVENTS) : before.events,
  }
}

function newest(months: Record<string, MonthSums>): Record<string, MonthSums> {
  return Object.fromEntries(Object.entries(months).sort().slice(-MAX_MONTHS))
}

function firstRecord(seen: Observation): AccountRecord {
  const here = { remaining: seen.remaining, at: seen.at }
  const month = { opening: here, closing: here, topUps: 0, booked: 0, drift: 0 }
  return { anchor: anchorOf(seen), topUps: 0, drift: 0, months: { [seen.month]: month }, events: [] }
}

function anchorOf({ remaining, at, book: { sequence, spent, calls, estimatedCalls } }: Observation): Anchor {
  return { remaining, at, sequence, spent, calls, estimatedCalls }
}
