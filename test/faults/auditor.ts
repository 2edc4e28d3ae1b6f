import { ERRORS } from '../../src/errors.js'
import type { LedgerEntry } from '../../src/storage.js'
import { type Books, openBooks } from './books.js'
import type { ClientRequest, FinalAnswer, History, UpstreamCall } from './history.js'

export interface Violation {
  rule: 'money' | 'once' | 'answers' | 'totals' | 'manners'
  what: string
}

/** Holds what was seen of a run against what a gateway promises. Answers every promise that was broken, as a sentence. */
export function audit(history: History): Violation[] {
  const books = openBooks(history)
  const rules = {
    money: auditMoney,
    once: auditOnce,
    answers: auditAnswers,
    totals: auditTotals,
    manners: auditManners,
  }
  return Object.entries(rules).flatMap(([rule, check]) =>
    check(history, books).map(what => ({ rule: rule as Violation['rule'], what })),
  )
}

/** Every call that may have been billed is in the ledger, by itself and with what it cost; nothing else is. */
function auditMoney(history: History, books: Books): string[] {
  return [
    ...history.calls.flatMap(call => callTroubles(call, books)),
    ...books.entries.flatMap(entry => entryTroubles(entry, books)),
  ]
}

function callTroubles(call: UpstreamCall, books: Books): string[] {
  if (call.question === undefined || call.billed === 'no') return []
  const entry = books.entryOf(call)
  if (!entry) return [`${nameOf(call)} may have been billed and is not in the ledger`]
  const rivals = books.callsOf(entry).filter(other => other.billed !== 'no' && other.index < call.index)
  return rivals.map(
    other => `${nameOf(call)} and ${nameOf(other)} may both have been billed and share ${nameFor(entry)}`,
  )
}

function entryTroubles(entry: LedgerEntry, books: Books): string[] {
  const isGone = books.isThrownAway(entry)
  if (entry.state === 'reserved') return isGone ? [] : [`${nameFor(entry)} is still reserved`]
  if (entry.state === 'charged') return chargeTroubles(entry, books)
  const calls = books.callsOf(entry)
  if (calls.some(call => call.billed !== 'no') || isGone || books.mayBookTooMuch(entry, calls)) return []
  const made = calls.map(call => `${nameOf(call)} ${call.status ?? ''}`).join(', ') || 'no call at all'
  return [`${nameFor(entry)} is booked as unknown for ${made}`]
}

function chargeTroubles(entry: LedgerEntry, books: Books): string[] {
  const { cost, upstreamRequestId } = entry.settled ?? {}
  const call = books.callNamed(upstreamRequestId)
  if (!call)
    return [`${nameFor(entry)} is charged for ${upstreamRequestId ?? 'a call without a name'}, which there was not`]
  const others = books.entries.filter(
    other => other.state === 'charged' && books.callNamed(other.settled?.upstreamRequestId) === call,
  )
  return [
    ...(call.billed === 'no' ? [`${nameFor(entry)} is charged for ${nameOf(call)}, which was not billed`] : []),
    ...(cost !== call.cost
      ? [`${nameFor(entry)} is charged ${cost} for ${nameOf(call)}, which cost ${call.cost}`]
      : []),
    ...(others.length > 1 && others[0] === entry ? [`${nameOf(call)} is charged ${others.length} times`] : []),
    ...(books.questionOf(entry) !== call.question
      ? [`${nameFor(entry)} is charged for ${nameOf(call)} of another question`]
      : []),
  ]
}

/** Nobody buys what somebody else is buying, or has bought. */
function auditOnce(history: History, books: Books): string[] {
  const calls = history.calls.filter(call => call.question !== undefined)
  const excuses = books.entries.flatMap(entry => excuseTroubles(entry, books))
  const twice = calls.flatMap(later =>
    calls
      .filter(earlier => earlier.index < later.index && earlier.question === later.question)
      .flatMap(earlier => twiceTroubles(earlier, later, history.api, books)),
  )
  return [...twice, ...excuses]
}

/** Who always said `unguarded` would never be found to buy twice. */
function excuseTroubles(entry: LedgerEntry, books: Books): string[] {
  const { purchase } = entry
  if ((purchase !== 'unguarded' && purchase !== 'takeover') || books.hasReason(entry)) return []
  return [`${nameFor(entry)} says ${purchase}, and nothing had happened that would explain it`]
}

function twiceTroubles(earlier: UpstreamCall, later: UpstreamCall, api: History['api'], books: Books): string[] {
  const { mayTakeOver, mayHaveLostResult, mayHaveLostJob, isSuccess, purchaseOf } = books
  const both = `${nameOf(earlier)}, and ${nameOf(later)} (${purchaseOf(later) ?? 'no entry'})`
  if (later.at < (earlier.endedAt ?? Number.POSITIVE_INFINITY))
    return mayTakeOver(earlier, later) ? [] : [`bought while somebody was buying: ${both}`]
  if (api === 'v2' && earlier.jobTaken && earlier.billed === 'yes')
    return mayHaveLostJob(earlier, later) ? [] : [`a job submitted again: ${both}`]
  if (!isSuccess(earlier) || mayHaveLostResult(earlier, later.at) || mayTakeOver(earlier, later)) return []
  return [`bought again after it was answered: ${both}`]
}

/** Who got an answer got a picture of that question; what was paid for can be had afterwards. */
function auditAnswers(history: History, books: Books): string[] {
  const wrong = history.requests.flatMap(request => {
    if (request.outcome.kind !== 'answered') return []
    return request.outcome.picture.question === request.question
      ? []
      : [`request ${request.id} for question ${request.question} got ${pictured(request.outcome.picture)}`]
  })
  return [...wrong, ...history.finals.flatMap(final => finalTroubles(final, history, books))]
}

const GRACE_TO_STORE_MS = 1_000

function finalTroubles(final: FinalAnswer, history: History, books: Books): string[] {
  const asked = `question ${final.question} asked of gateway ${final.gateway} at the end`
  if (final.status === 200) {
    const isIts = final.picture?.question === final.question
    return isIts && final.cache === 'HIT' ? [] : [`${asked} got ${final.cache} and ${pictured(final.picture)}`]
  }
  if (final.status !== 504) return [`${asked} got status ${final.status}`]
  // One that arrives at the same time may be on its way to the store.
  const wasThere = (call: UpstreamCall) => call.deliveries.some(({ at }) => at < final.at - GRACE_TO_STORE_MS)
  const paid = history.calls.find(
    call =>
      call.question === final.question &&
      books.isSuccess(call) &&
      wasThere(call) &&
      !books.mayHaveLostResult(call, final.at),
  )
  return paid ? [`${asked} is not cached, though ${nameOf(paid)} was paid for and answered`] : []
}

function pictured(picture: FinalAnswer['picture']): string {
  return picture?.requestId
    ? `the picture of ${picture.requestId} (question ${picture.question})`
    : 'no picture of ours'
}

/** The sums are sums, and no team spent more than it may. */
function auditTotals(history: History, books: Books): string[] {
  const sums = history.usage.flatMap(day => {
    const entries = history.ledger.filter(entry => entry.team === day.team && entry.day === day.day)
    const of = (state: LedgerEntry['state']) => entries.filter(entry => entry.state === state)
    const counted = [of('charged'), of('unknown'), of('reserved')].flatMap(list => [
      list.length,
      list.reduce((sum, entry) => sum + amountOf(entry), 0),
    ])
    const said = [day.paidCalls, day.charged, day.unknownCalls, day.unknown, day.reservedCalls, day.reserved]
    return `${said}` === `${counted}` ? [] : [`usage of ${day.team} says ${said} where the entries say ${counted}`]
  })
  const unsaid = history.ledger
    .filter(entry => !history.usage.some(day => day.team === entry.team && day.day === entry.day))
    .map(entry => `${nameFor(entry)} is in no day of the usage`)
  return [
    ...sums,
    ...unsaid,
    ...Object.entries(history.budgets).flatMap(([team, limit]) => overspent(team, limit, history, books)),
  ]
}

/** What a call cost above its estimate could not be known before; what was reserved in a Redis that is gone no budget could see. */
function overspent(team: string, limit: number, history: History, { emptiedAt }: Books): string[] {
  const entries = history.ledger.filter(entry => entry.team === team && entry.at > emptiedAt)
  return [...new Set(entries.map(({ day }) => day))].flatMap(day => {
    const planned = entries
      .filter(entry => entry.day === day)
      .reduce((sum, entry) => sum + Math.min(amountOf(entry), entry.estimate), 0)
    return planned <= limit ? [] : [`team ${team} has booked ${planned} of ${limit} on ${day}`]
  })
}

function amountOf(entry: LedgerEntry): number {
  return entry.settled?.cost ?? entry.estimate
}

/** How long after its patience a client may still be waiting: machines are busy, and a frozen gateway tells no time. */
const GRACE_MS = 5_000

/** Every request is answered in time and in the agreed words; who is asked to end ends well. */
function auditManners(history: History, books: Books): string[] {
  const stopped = history.lives.flatMap(({ id, ended, gaveUp }) =>
    ended?.how === 'stopped' && ended.code !== 0 && !gaveUp
      ? [`gateway ${id} ended with ${ended.code} on SIGTERM`]
      : [],
  )
  const gaveUp = history.lives.flatMap(({ id, gaveUp }) => (gaveUp ? [`gateway ${id} gave up on paid calls`] : []))
  const troubles = history.troubles.map(trouble => `the run itself: ${trouble}`)
  return [
    ...history.requests.flatMap(request => requestTroubles(request, history, books)),
    ...stopped,
    ...gaveUp,
    ...troubles,
  ]
}

function requestTroubles(request: ClientRequest, { patienceMs }: History, books: Books): string[] {
  const { id, at, endedAt, outcome, life } = request
  const waitedMs = endedAt - at
  const slow =
    waitedMs > patienceMs + GRACE_MS + books.frozenMs(life, at, endedAt) ? [`request ${id} waited ${waitedMs} ms`] : []
  if (outcome.kind === 'broken' && !books.wasEnding(life, at, endedAt))
    return [...slow, `request ${id} was cut off: ${outcome.message}`]
  if (outcome.kind !== 'problem') return slow
  const { status, contentType, code } = outcome
  const known = code !== undefined && code in ERRORS ? ERRORS[code as keyof typeof ERRORS] : undefined
  const isWellSaid =
    contentType.startsWith('application/problem+json') && known?.status === status && code !== 'internal_error'
  return isWellSaid ? slow : [...slow, `request ${id} got ${status} ${code ?? 'without a code'} as ${contentType}`]
}

function nameOf(call: UpstreamCall): string {
  return `${call.requestId} (${call.kind}, question ${call.question}, ${call.life})`
}

function nameFor(entry: LedgerEntry): string {
  return `entry ${entry.callId.slice(0, 8)} (${entry.state}, ${entry.purchase ?? 'first'}, request ${entry.requestId})`
}
