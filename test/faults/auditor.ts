import { ERRORS } from '../../src/contracts/errors.js'
import type { LedgerEntry } from '../../src/contracts/store.js'
import { collectFacts, type Facts } from './facts.js'
import type { ClientRequest, FinalAnswer, History, UpstreamCall } from './history.js'
import { FIRST_ESTIMATE } from './schedule.js'

export interface Violation {
  rule: 'money' | 'once' | 'answers' | 'totals' | 'whole' | 'learned' | 'protocol'
  message: string
}

/**
 * Checks the history of a run against the promises of a gateway. Returns one entry per violation.
 */
export function audit(history: History): Violation[] {
  const facts = collectFacts(history)
  const rules = {
    money: auditMoney,
    once: auditOnce,
    answers: auditAnswers,
    totals: auditTotals,
    whole: auditWholeness,
    learned: auditLearned,
    protocol: auditProtocol,
  }
  return Object.entries(rules).flatMap(([rule, check]) =>
    check(history, facts).map(message => ({ rule: rule as Violation['rule'], message })),
  )
}

/**
 * Checks that each possibly billed call has its own ledger entry with its cost, and that no other
 * entry exists.
 */
function auditMoney(history: History, facts: Facts): string[] {
  return [
    ...history.calls.flatMap(call => callViolations(call, facts)),
    ...facts.entries.flatMap(entry => entryViolations(entry, facts)),
  ]
}

function callViolations(call: UpstreamCall, facts: Facts): string[] {
  if (call.input === undefined || call.billed === 'no') return []
  const entry = facts.entryOf(call)
  if (!entry) return [`${callName(call)} may have been billed and is not in the ledger`]
  const sharing = facts.callsOf(entry).filter(other => other.billed !== 'no' && other.index < call.index)
  return sharing.map(
    other => `${callName(call)} and ${callName(other)} may both have been billed and share ${entryName(entry)}`,
  )
}

function entryViolations(entry: LedgerEntry, facts: Facts): string[] {
  const isDiscarded = facts.isDiscarded(entry)
  if (entry.state === 'reserved') return isDiscarded ? [] : [`${entryName(entry)} is still reserved`]
  if (entry.state === 'charged') return chargeViolations(entry, facts)
  const calls = facts.callsOf(entry)
  if (calls.some(call => call.billed !== 'no') || isDiscarded || facts.mayBeOverbooked(entry, calls)) return []
  const sent = calls.map(call => `${callName(call)} ${call.status ?? ''}`).join(', ') || 'no call'
  return [`${entryName(entry)} is booked as unknown for ${sent}`]
}

function chargeViolations(entry: LedgerEntry, facts: Facts): string[] {
  const { cost, upstreamRequestId } = entry.settled ?? {}
  const call = facts.callById(upstreamRequestId)
  if (!call)
    return [`${entryName(entry)} is charged for ${upstreamRequestId ?? 'a call without an id'}, which never arrived`]
  const others = facts.entries.filter(
    other => other.state === 'charged' && facts.callById(other.settled?.upstreamRequestId) === call,
  )
  return [
    ...(call.billed === 'no' ? [`${entryName(entry)} is charged for ${callName(call)}, which was not billed`] : []),
    ...(!isCostRight(entry, call)
      ? [`${entryName(entry)} is charged ${cost} for ${callName(call)}, which cost ${call.cost}`]
      : []),
    ...(others.length > 1 && others[0] === entry ? [`${callName(call)} is charged ${others.length} times`] : []),
    ...(facts.inputOf(entry) !== call.input
      ? [`${entryName(entry)} is charged for ${callName(call)} of another input`]
      : []),
  ]
}

/** Estimates stay below ten times the setting. */
const MAX_ESTIMATE = 10 * FIRST_ESTIMATE

/** Accepts the cost of the call, and the estimate if the response stated a wrong cost. */
function isCostRight({ settled }: LedgerEntry, call: UpstreamCall): boolean {
  if (settled?.cost === call.cost) return true
  const isEstimate = settled?.costSource === 'estimate' && settled.cost < MAX_ESTIMATE
  return call.statedCost !== undefined && isEstimate
}

/** Checks that no result is bought while it is in flight elsewhere, or after it was bought. */
function auditOnce(history: History, facts: Facts): string[] {
  const calls = history.calls.filter(call => call.input !== undefined)
  const excuses = facts.entries.flatMap(entry => excuseViolations(entry, facts))
  const twice = calls.flatMap(later =>
    calls
      .filter(earlier => earlier.index < later.index && earlier.input === later.input)
      .flatMap(earlier => repeatViolations(earlier, later, history.api, facts)),
  )
  return [...twice, ...excuses]
}

/**
 * Checks the reason of each `unguarded` or `takeover`, because `auditOnce` accepts both as excuses.
 */
function excuseViolations(entry: LedgerEntry, facts: Facts): string[] {
  const { purchase } = entry
  if ((purchase !== 'unguarded' && purchase !== 'takeover') || facts.isExplained(entry)) return []
  return [`${entryName(entry)} is marked ${purchase} without a fault that explains it`]
}

function repeatViolations(earlier: UpstreamCall, later: UpstreamCall, api: History['api'], facts: Facts): string[] {
  const { mayTakeOver, mayHaveLostResult, mayHaveLostJob, isSuccess, purchaseOf } = facts
  const both = `${callName(earlier)}, and ${callName(later)} (${purchaseOf(later) ?? 'no entry'})`
  if (later.at < (earlier.endedAt ?? Number.POSITIVE_INFINITY))
    return mayTakeOver(earlier, later) ? [] : [`bought while a purchase was in flight: ${both}`]
  if (api === 'v2' && earlier.jobAccepted && earlier.billed === 'yes')
    return mayHaveLostJob(earlier, later) ? [] : [`job submitted again: ${both}`]
  if (!isSuccess(earlier) || mayHaveLostResult(earlier, later.at) || mayTakeOver(earlier, later)) return []
  return [`bought again after a successful call: ${both}`]
}

/**
 * Checks that each response has a picture of its input, and that paid results are hits at the end.
 */
function auditAnswers(history: History, facts: Facts): string[] {
  const wrong = history.requests.flatMap(request => {
    if (request.outcome.kind !== 'answered') return []
    return request.outcome.picture.input === request.input
      ? []
      : [`request ${request.id} for input ${request.input} got ${describePicture(request.outcome.picture)}`]
  })
  return [...wrong, ...history.finals.flatMap(final => finalViolations(final, history, facts))]
}

const STORE_GRACE_MS = 1_000

function finalViolations(final: FinalAnswer, history: History, facts: Facts): string[] {
  const subject = `input ${final.input}, requested from gateway ${final.gateway} at the end,`
  if (final.status === 200) {
    const isOwnPicture = final.picture?.input === final.input
    return isOwnPicture && final.cache === 'HIT'
      ? []
      : [`${subject} got ${final.cache} and ${describePicture(final.picture)}`]
  }
  if (final.status !== 504) return [`${subject} got status ${final.status}`]
  // A result that arrives at the same time may not be in the store yet.
  const hadArrived = (call: UpstreamCall) => call.deliveries.some(({ at }) => at < final.at - STORE_GRACE_MS)
  const paid = history.calls.find(
    call =>
      call.input === final.input &&
      facts.isSuccess(call) &&
      hadArrived(call) &&
      !facts.mayHaveLostResult(call, final.at),
  )
  return paid ? [`${subject} is not cached, though ${callName(paid)} was paid for and answered`] : []
}

function describePicture(picture: FinalAnswer['picture']): string {
  return picture?.requestId ? `the picture of ${picture.requestId} (input ${picture.input})` : 'an unknown picture'
}

/** Checks that usage equals the sums of the entries, and that no team exceeds its budget. */
function auditTotals(history: History, facts: Facts): string[] {
  return [
    ...sumViolations(history, facts),
    ...Object.entries(history.budgets).flatMap(([team, limit]) => overspending(team, limit, history, facts)),
  ]
}

/** After an eviction of the sums, they cover later calls only. */
function sumViolations({ ledger, usage }: Pick<History, 'ledger' | 'usage'>, { hasLostSums }: Facts): string[] {
  if (hasLostSums) return []
  const sums = usage.flatMap(day => {
    const entries = ledger.filter(entry => entry.team === day.team && entry.day === day.day)
    const of = (state: LedgerEntry['state']) => entries.filter(entry => entry.state === state)
    const expected = [of('charged'), of('unknown'), of('reserved')].flatMap(list => [
      list.length,
      list.reduce((sum, entry) => sum + amountOf(entry), 0),
    ])
    const reported = [day.paidCalls, day.charged, day.unknownCalls, day.unknown, day.reservedCalls, day.reserved]
    return `${reported}` === `${expected}`
      ? []
      : [`usage of ${day.team} reports ${reported}, its entries sum to ${expected}`]
  })
  const missing = ledger
    .filter(entry => !usage.some(day => day.team === entry.team && day.day === entry.day))
    .map(entry => `${entryName(entry)} is missing from the usage`)
  return [...sums, ...missing]
}

/**
 * Checks a budget. A cost counts up to its estimate only, because the excess was unknown at the
 * reservation. Entries older than the last emptied Redis do not count: no budget could see them.
 */
function overspending(team: string, limit: number, history: History, { emptiedAt }: Facts): string[] {
  const entries = history.ledger.filter(entry => entry.team === team && entry.at > emptiedAt)
  return [...new Set(entries.map(({ day }) => day))].flatMap(day => {
    const planned = entries
      .filter(entry => entry.day === day)
      .reduce((sum, entry) => sum + Math.min(amountOf(entry), entry.estimate), 0)
    return planned <= limit ? [] : [`team ${team} has booked ${planned} of ${limit} on ${day}`]
  })
}

/**
 * Checks that gateways notice every loss of the ledger, report none without a loss, and then buy
 * nothing for teams with a budget.
 */
function auditWholeness(history: History, facts: Facts): string[] {
  const { loss } = facts
  const states = history.ledgerStates.flatMap((state, gateway) => {
    if (loss ? state === 'lost' || !loss.isCertain : state === 'ok') return []
    return [`gateway ${gateway} says that the ledger is ${state}, after ${loss ? loss.kind : 'no loss'}`]
  })
  const bought = history.ledger.flatMap(entry =>
    entry.team in history.budgets && facts.isClosedFor(entry)
      ? [`${entryName(entry)} of a team with a budget was bought while the ledger was lost or could be`]
      : [],
  )
  const events = history.events.flatMap(kind =>
    facts.isEventExplained(kind) ? [] : [`the account has an event of kind ${kind} without a cause`],
  )
  return [...states, ...bought, ...events]
}

/** Checks what the ledger has learned from the request history. */
function auditLearned(history: History, facts: Facts): string[] {
  const { ledger, usage } = history.learned
  const charged = ledger.filter(({ state }) => state === 'charged')
  const wrong = charged.flatMap(entry => {
    const id = entry.settled?.upstreamRequestId
    const call = facts.callById(id)
    const sharing = charged.filter(other => other.settled?.upstreamRequestId === id).length
    if (sharing > 1) return [`${entryName(entry)} shares ${id} with another after the history was read`]
    return !call || (call.isPaid && call.cost === entry.settled?.cost) || !history.hasAllRows
      ? []
      : [`${entryName(entry)} costs ${entry.settled?.cost} after the history was read, ${callName(call)} ${call.cost}`]
  })
  const lost = history.ledger.filter(
    entry => entry.state === 'charged' && !ledger.some(({ callId }) => callId === entry.callId),
  )
  return [
    ...wrong,
    ...lost.map(entry => `${entryName(entry)} was charged and is gone after the history was read`),
    ...facts.unlearned.map(
      entry => `${entryName(entry)} is unknown after the history was read, though its row is there`,
    ),
    ...sumViolations({ ledger, usage }, facts),
  ]
}

function amountOf(entry: LedgerEntry): number {
  return entry.settled?.cost ?? entry.estimate
}

/** Tolerance for responses after the client timeout. The machine may be busy. */
const RESPONSE_GRACE_MS = 5_000

/** Checks response times, documented error codes, and the exit code 0 after SIGTERM. */
function auditProtocol(history: History, facts: Facts): string[] {
  const stopped = history.instances.flatMap(({ id, ended, stoppedEarly }) =>
    ended?.how === 'stopped' && ended.code !== 0 && !stoppedEarly
      ? [`gateway ${id} ended with ${ended.code} on SIGTERM`]
      : [],
  )
  const abandoned = history.instances.flatMap(({ id, stoppedEarly }) =>
    stoppedEarly ? [`gateway ${id} stopped before its paid calls ended`] : [],
  )
  const harness = history.harnessErrors.map(error => `harness: ${error}`)
  return [
    ...history.requests.flatMap(request => requestViolations(request, history, facts)),
    ...stopped,
    ...abandoned,
    ...harness,
  ]
}

function requestViolations(request: ClientRequest, { clientTimeoutMs }: History, facts: Facts): string[] {
  const { id, at, endedAt, outcome, instance } = request
  const waitedMs = endedAt - at
  const slow =
    waitedMs > clientTimeoutMs + RESPONSE_GRACE_MS + facts.frozenMs(instance, at, endedAt)
      ? [`request ${id} waited ${waitedMs} ms`]
      : []
  if (outcome.kind === 'broken' && !facts.wasEnding(instance, at, endedAt))
    return [...slow, `request ${id} was cut off: ${outcome.message}`]
  if (outcome.kind !== 'problem') return slow
  const { status, contentType, code } = outcome
  const known = code !== undefined && code in ERRORS ? ERRORS[code as keyof typeof ERRORS] : undefined
  const isDocumented =
    contentType.startsWith('application/problem+json') && known?.status === status && code !== 'internal_error'
  return isDocumented ? slow : [...slow, `request ${id} got ${status} ${code ?? 'without a code'} as ${contentType}`]
}

function callName(call: UpstreamCall): string {
  return `${call.requestId} (${call.kind}, input ${call.input}, ${call.instance})`
}

function entryName(entry: LedgerEntry): string {
  return `entry ${entry.callId.slice(0, 8)} (${entry.state}, ${entry.purchase ?? 'first'}, request ${entry.requestId})`
}
