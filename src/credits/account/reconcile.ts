import type { AccountEvent, DifferenceKind } from '../../contracts/account.js'
import { defined } from '../../contracts/defined.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { MonthSums } from '../../contracts/statements.js'
import type { LedgerEntry, LedgerTotals } from '../../contracts/store.js'
import type { PriceEstimate } from './price.js'
import { type AccountRecord, type Anchor, MAX_MONTHS, withEvent } from './record.js'

/** The account's balance, observed together with the ledger's totals. */
export interface Observation {
  remaining: Nanocredits
  at: number
  /** The month of `at` in `BUDGET_TIMEZONE`. */
  month: string
  totals: LedgerTotals
  /** Calls that only one of balance and totals may contain. 0 if no other call was in flight. */
  overlap: number
  /** Time of the request, if it differs from `at` by more than a moment. */
  since?: number
  /** Calls that ended as unknown since the anchor and still are. Empty if `overlap` is not 0. */
  unknown: readonly LedgerEntry[]
  /** Calls since the anchor whose stated cost was not believed, with that cost. */
  claims: readonly Resolution[]
}

/** A call, and the cost that the balance shows. */
export interface Resolution {
  entry: LedgerEntry
  /** 0: the call was not billed. */
  cost: Nanocredits
}

export interface Reconciled {
  /** The next record; absent if there is nothing to write. */
  record?: AccountRecord
  event?: AccountEvent
  /** Calls to end first. The next observation agrees with the ledger then. */
  resolutions: Resolution[]
  /** Mean cost of a call, if Segmind reported none for any of them. */
  meanCost?: Nanocredits
}

/** Bounds and estimates the cost of a call. */
export type CallPrice = Pick<PriceEstimate, 'max' | 'current'>

export interface ReconcileTerms {
  price: CallPrice
  newId(): string
}

/**
 * Compares the balance with the amounts booked since the last reconciled balance. A difference is
 * attributed to the smallest explanation that covers it, and booked as a top-up or as drift. It is
 * never dropped.
 */
export function reconcile(
  before: AccountRecord | undefined,
  seen: Observation,
  { price, newId }: ReconcileTerms,
): Reconciled {
  if (!before) return seen.overlap === 0 ? { record: firstRecord(seen), resolutions: [] } : { resolutions: [] }
  const { anchor } = before
  const { totals } = seen
  if (isOlder(seen, anchor)) return { resolutions: [] }
  // It says nothing about the movement of the balance that was recorded meanwhile.
  if (isBeforeMovement(seen, before)) return { resolutions: [] }
  const unexplained = anchor.remaining - seen.remaining - (totals.spent - anchor.spent)
  const { calls, estimated, rounding } = sinceAnchor(anchor, totals)
  if (seen.overlap > 0) {
    const slack = slackOf(anchor, totals, { overlap: seen.overlap, price })
    // The next observation without calls in flight tells which of the claims are true.
    const claimed = seen.claims.reduce((sum, claim) => sum + moreThanBooked(claim), 0)
    if (unexplained > 0 && unexplained <= claimed + slack) return { resolutions: [] }
    return reconcileInFlight(before, seen, unexplained, { slack, newId })
  }
  if (Math.abs(unexplained) <= rounding) return accept(before, seen, unexplained, undefined)
  const { loose } = anchor
  if (loose && Math.abs(unexplained) <= loose.slack) return correct(before, seen, unexplained, loose.eventId)
  const shown = claimsShownBy(unexplained, seen.claims, rounding)
  if (shown.length > 0) return { resolutions: shown }
  const isSure = estimated <= seen.unknown.length
  const { max: maxCost } = price
  const resolutions = resolve(seen.unknown, unexplained, { rounding, maxCost, isSure })
  if (resolutions.length > 0) return { resolutions }
  // Calls that cost less than their estimates cannot raise the balance.
  const hasRisen = seen.remaining > anchor.remaining + rounding
  const uncertain = hasRisen ? { estimated: 0, unknown: 0 } : { estimated, unknown: seen.unknown.length }
  const kind = kindOf(unexplained, { ...uncertain, maxCost })
  const event = { id: newId(), at: seen.at, month: seen.month, kind, amount: amountOf(kind, unexplained) }
  const accepted = accept(before, seen, unexplained, event)
  if (kind !== 'estimate' || calls === 0 || calls !== estimated || seen.unknown.length > 0) return accepted
  return { ...accepted, meanCost: Math.round((totals.spent - anchor.spent + unexplained) / calls) }
}

/** Finds one claim, or all together, that the difference shows to be true. */
function claimsShownBy(unexplained: Nanocredits, claims: readonly Resolution[], rounding: Nanocredits): Resolution[] {
  const sum = (some: readonly Resolution[]) => some.reduce((total, claim) => total + moreThanBooked(claim), 0)
  const isShown = (some: readonly Resolution[]) => Math.abs(unexplained - sum(some)) <= rounding
  const one = claims.find(claim => isShown([claim]))
  if (one) return [one]
  return claims.length > 1 && isShown(claims) ? [...claims] : []
}

function moreThanBooked({ entry, cost }: Resolution): Nanocredits {
  return cost - (entry.settled?.cost ?? 0)
}

/** Tells whether a sample was requested before the last recorded movement of the balance. */
export function isBeforeMovement(
  { since }: Pick<Observation, 'since'>,
  { movedAt }: Pick<AccountRecord, 'movedAt'>,
): boolean {
  return since !== undefined && movedAt !== undefined && since <= movedAt
}

/** Calls without a known cost of which each may have cost the most. Of many, not all do. */
const FEW_ESTIMATED = 8

/** Returns by how much a balance may differ from what the booked calls let expect. */
export function slackOf(
  anchor: Anchor,
  totals: LedgerTotals,
  { overlap, price }: { overlap: number; price: CallPrice },
): Nanocredits {
  const { estimated, rounding } = sinceAnchor(anchor, totals)
  const few = Math.min(estimated, FEW_ESTIMATED)
  const forEstimates = few * price.max + (estimated - few) * 2 * price.current()
  return rounding + overlap * price.max + forEstimates + (anchor.loose?.slack ?? 0)
}

/**
 * Counts the calls that ended since the anchor, or until it if the totals are older: all of them, those
 * whose cost is an estimate, and the rounding.
 */
function sinceAnchor(
  anchor: Anchor,
  totals: LedgerTotals,
): { calls: number; estimated: number; rounding: Nanocredits } {
  const [from, to] = totals.sequence < anchor.sequence ? [totals, anchor] : [anchor, totals]
  const calls = Math.max(0, to.calls - from.calls)
  const estimated = Math.max(0, to.estimatedCalls - from.estimatedCalls)
  // Segmind's figures have more digits than ours, so each call and both balances may be rounded.
  return { calls, estimated, rounding: calls + 2 }
}

function isOlder({ at, totals }: Observation, anchor: Anchor): boolean {
  return totals.sequence < anchor.sequence || (totals.sequence === anchor.sequence && at <= anchor.at)
}

/**
 * Resolves a single unknown call by the difference, or several if the difference shows that none
 * was billed.
 */
function resolve(
  unknown: readonly LedgerEntry[],
  unexplained: Nanocredits,
  { rounding, maxCost, isSure }: { rounding: number; maxCost: Nanocredits; isSure: boolean },
): Resolution[] {
  const booked = unknown.reduce((sum, { settled }) => sum + (settled?.cost ?? 0), 0)
  const cost = unexplained + booked
  if (unknown.length === 0 || !isSure) return []
  if (Math.abs(cost) <= rounding) return unknown.map(entry => ({ entry, cost: 0 }))
  const [entry, ...others] = unknown
  return entry && others.length === 0 && cost > 0 && cost <= maxCost ? [{ entry, cost }] : []
}

function kindOf(
  unexplained: Nanocredits,
  { estimated, unknown, maxCost }: { estimated: number; unknown: number; maxCost: Nanocredits },
): DifferenceKind {
  if (Math.abs(unexplained) <= estimated * maxCost) return unknown > 0 ? 'unknown' : 'estimate'
  return unexplained < 0 ? 'topUp' : 'foreign'
}

function amountOf(kind: DifferenceKind, unexplained: Nanocredits): Nanocredits {
  return kind === 'topUp' ? -unexplained : unexplained
}

/**
 * Reconciles while calls were in flight. Records at once only a difference that those calls cannot
 * explain. The next observation without calls in flight corrects it.
 */
function reconcileInFlight(
  before: AccountRecord,
  seen: Observation,
  unexplained: Nanocredits,
  { slack, newId }: { slack: Nanocredits; newId(): string },
): Reconciled {
  if (Math.abs(unexplained) <= slack) return { resolutions: [] }
  const kind = unexplained < 0 ? 'topUp' : 'foreign'
  const event = { id: newId(), at: seen.at, month: seen.month, kind, amount: amountOf(kind, unexplained) } as const
  const anchor = {
    ...before.anchor,
    remaining: before.anchor.remaining - unexplained,
    loose: { eventId: event.id, slack },
  }
  const movement = { anchor, unexplained, event, at: before.anchor.at, spent: 0, month: seen.month }
  return { record: { ...move(before, movement), movedAt: seen.at }, event, resolutions: [] }
}

/**
 * Adds the error of observations made while calls were in flight to the last event they recorded.
 */
function correct(before: AccountRecord, seen: Observation, unexplained: Nanocredits, eventId: string): Reconciled {
  const last = before.events.find(({ id }) => id === eventId)
  if (!last) return accept(before, seen, unexplained, undefined)
  const kind = last.kind === 'topUp' ? 'topUp' : 'foreign'
  const event = { ...last, amount: last.amount + amountOf(kind, unexplained) }
  const others = before.events.filter(({ id }) => id !== eventId)
  const { event: _reported, ...reconciled } = accept({ ...before, events: others }, seen, unexplained, event)
  return reconciled
}

/** Makes the observation the new anchor. */
function accept(
  before: AccountRecord,
  seen: Observation,
  unexplained: Nanocredits,
  event: AccountEvent | undefined,
): Reconciled {
  const anchor = anchorOf(seen)
  const spent = seen.totals.spent - before.anchor.spent
  const moved = move(before, { anchor, unexplained, event, at: seen.at, spent, month: seen.month })
  const movedAt = event ? seen.at : before.movedAt
  return { record: { ...moved, ...defined({ movedAt }) }, ...defined({ event }), resolutions: [] }
}

interface Movement {
  anchor: Anchor
  unexplained: Nanocredits
  event: AccountEvent | undefined
  at: number
  spent: Nanocredits
  month: string
}

/**
 * Returns the record after a movement. Keeps the invariant opening − closing + topUps = booked +
 * drift.
 */
function move(before: AccountRecord, { anchor, unexplained, event, at, spent, month }: Movement): AccountRecord {
  const topUps = event?.kind === 'topUp' ? -unexplained : 0
  const drift = event?.kind === 'topUp' ? 0 : unexplained
  const previous = { remaining: before.anchor.remaining, at: before.anchor.at }
  const sums = before.months[month] ?? { opening: previous, closing: previous, topUps: 0, booked: 0, drift: 0 }
  const next: MonthSums = {
    opening: sums.opening,
    closing: { remaining: anchor.remaining, at },
    topUps: sums.topUps + topUps,
    booked: sums.booked + spent,
    drift: sums.drift + drift,
  }
  const months = Object.entries({ ...before.months, [month]: next })
  return {
    ...before,
    anchor,
    topUps: before.topUps + topUps,
    drift: before.drift + drift,
    months: Object.fromEntries(months.sort().slice(-MAX_MONTHS)),
    events: event ? withEvent(before.events, event) : before.events,
  }
}

function firstRecord(seen: Observation): AccountRecord {
  const reading = { remaining: seen.remaining, at: seen.at }
  const month = { opening: reading, closing: reading, topUps: 0, booked: 0, drift: 0 }
  return { anchor: anchorOf(seen), topUps: 0, drift: 0, months: { [seen.month]: month }, events: [] }
}

function anchorOf({ remaining, at, totals: { sequence, spent, calls, estimatedCalls } }: Observation): Anchor {
  return { remaining, at, sequence, spent, calls, estimatedCalls }
}

/** Counts the other calls in flight at any time between two totals. Undefined if unknown. */
export function overlapOf(
  reserved: LedgerTotals | undefined,
  ended: LedgerTotals | undefined,
  notes: number,
): number | undefined {
  if (!reserved || !ended) return undefined
  const stepsOfOthers = Math.max(0, ended.sequence - reserved.sequence - notes - 1)
  return reserved.reservedCalls - 1 + stepsOfOthers + ended.reservedCalls
}
