import { randomUUID } from 'node:crypto'
import { GatewayError } from '../errors.js'
import type { PurchaseKind } from '../storage.js'
import { asFollower, free, inPatience, isLeadersOwn, isSlow } from './acceptance.js'
import { look } from './look.js'
import type { How, PipelineParts, Purchase, Seat } from './ports.js'
import { buy, type Led } from './purchase.js'
import type { Question } from './question.js'
import { timed } from './story.js'
import type { Result } from './types.js'

export interface Bought {
  how: How
  purchase: Purchase
}

/** Buys for this request (`no-cache`, `no-store`, `COALESCE=off`), whoever else is buying; others may follow a purchase that is kept. */
export async function boughtAlone(question: Question, parts: PipelineParts): Promise<Bought> {
  const { name, caller, cache, mustBuy } = question
  const purchase = cache.noStore ? 'no-store' : mustBuy ? 'no-cache' : 'uncoalesced'
  const begin = () => buy(question, { note: planOf(question, parts), purchase }, parts)
  const isKept = mustBuy && !cache.noStore
  const landed = isKept ? parts.flights.lead(name, caller.team.id, begin) : parts.flights.alone(begin)
  if (question.story) question.story.flight = { role: 'alone' }
  question.story?.began(landed)
  question.holdUntil?.(landed)
  return { how: mustBuy ? 'bypass' : 'miss', purchase: await inPatience(landed, question.endsAt) }
}

/** Leads the purchase, or follows the flight of an identical request; waits at most the caller's patience in all. */
export async function boughtTogether(question: Question, parts: PipelineParts): Promise<Bought> {
  const team = question.caller.team.id
  for (;;) {
    const joinedAt = performance.now()
    const flight = parts.flights.join(question.name, team, () => fly(question, parts))
    if (flight.role === 'leader') question.holdUntil?.(flight.landed)
    noteFlight(question, flight)
    const isFollower = flight.role === 'follower'
    const waited = inPatience(flight.landed, question.endsAt)
    const landed = isFollower ? timed(question.story, 'follow', waited) : waited
    const { purchase, error } = await landed.then(
      purchase => ({ purchase, error: undefined }),
      (error: unknown) => ({ purchase: undefined, error }),
    )
    if (flight.role === 'leader') {
      if (!purchase) throw error
      return { how: howLed(purchase, question), purchase }
    }
    // A leader that failed for reasons of its own (another team's budget, an id without bytes, its patience), or that was content with
    // an older answer than this caller wants, decides nothing for the others: they ask again, one of them leading.
    if (!purchase) {
      const isFlights = isSlow(error) && performance.now() < question.endsAt
      if (!isFlights && !isLeadersOwn(error, flight.leader === team)) throw asFollower(error)
    } else if (purchase.bought || purchase.followed || question.isWanted(purchase.result)) {
      const upstreamMs = performance.now() - joinedAt
      const { result, stored, written, by } = purchase
      noteLeader(question, by)
      return { how: 'coalesced', purchase: { ...free(result), stored, written, upstreamMs } }
    }
  }
}

function howLed(purchase: Purchase, { mustBuy }: Question): How {
  if (purchase.bought) return mustBuy ? 'bypass' : 'miss'
  return purchase.followed ? 'coalesced' : 'hit'
}

/** Leads the flight of this process: takes the lead of all processes and buys, or follows the process that has it. */
async function fly(question: Question, parts: PipelineParts): Promise<Purchase> {
  const begunAt = performance.now()
  let isFollowing = false
  for (;;) {
    const note = planOf(question, parts)
    const waitMs = begunAt + parts.patienceMs - performance.now()
    const seat = await parts.leases.take(question.name, note, { waitMs, isFollowing })
    noteSeat(question, seat)
    if (seat.role === 'leader') return lead(question, seat, { ...seat, note }, parts)
    // The same rules as for followers in one process, see above.
    const { at } = seat.leader
    // What was bought while this one waited is new enough, whatever age it asked for: both times are the leader's.
    const isWanted = (result: Result) => question.isWanted(result) || (at > 0 && result.storedAt >= at)
    const result = await look('landed', { ...question, isWanted }, parts)
    if (result && isWanted(result)) return { ...free(result), followed: true, upstreamMs: performance.now() - begunAt }
    const { error } = seat.landing
    if (error && !isLeadersOwn(error, seat.leader.team === note.team)) throw error
    isFollowing = true
  }
}

/** Leads, and lands for the followers: with the error, or once the result is where they find it. */
async function lead(
  question: Question,
  seat: Seat & { role: 'leader' },
  led: Led,
  parts: PipelineParts,
): Promise<Purchase> {
  try {
    const purchase = await lookAgainThenBuy(question, led, parts)
    void purchase.written.then(() => seat.land({}))
    return purchase
  } catch (error) {
    const known =
      error instanceof GatewayError
        ? error
        : new GatewayError('internal_error', 'The purchase failed inside the gateway.')
    seat.land({ error: known, ...(led.openJob && { openJob: led.openJob }) })
    throw error
  }
}

/**
 * Looks once more before paying. The race it ends: A looks (miss) · B lands the purchase, stores it and leaves the flight ·
 * A, finding no flight, leads a new one and would pay again. A store that cannot be asked now guards nothing.
 */
async function lookAgainThenBuy(question: Question, led: Led, parts: PipelineParts): Promise<Purchase> {
  const looking = parts.results.find(question.name, question.isWanted)
  const { result, isSure } = await timed(question.story, 'look', looking)
  const isWanted = result !== undefined && question.isWanted(result)
  question.story?.looked('again', { isSure, ...(result && { result }) }, isWanted)
  if (isWanted) return free(result)
  return buy(question, Object.assign(led, { purchase: kindOf(question, led, isSure) }), parts)
}

/** As the ledger has it. `no-store` above all: whoever ends an orphan must not keep its answer. */
function kindOf({ cache, mustBuy }: Question, { purchase }: Led, isSure: boolean): PurchaseKind {
  if (cache.noStore && mustBuy) return 'no-store'
  if (purchase !== 'first') return purchase
  if (!isSure) return 'unguarded'
  return mustBuy ? 'no-cache' : 'first'
}

function noteFlight({ story }: Question, { role, leader, landed }: Joined): void {
  if (!story) return
  story.flight = { role, ...(role === 'follower' && { leader: { team: leader, isElsewhere: false } }) }
  if (role === 'leader') story.began(landed)
}

function noteLeader({ story }: Question, by: Purchase['by']): void {
  if (story?.flight && by) story.flight.leader = { ...by, isElsewhere: false }
}

type Joined = ReturnType<PipelineParts['flights']['join']>

/** Among the processes, this one leads, or follows another one. */
function noteSeat({ story }: Question, seat: Seat): void {
  if (!story?.flight) return
  if (seat.role === 'leader') story.flight.seat = seat.purchase
  else {
    const { team, callId, at } = seat.leader
    story.flight = { role: 'follower', leader: { team, callId, at, isElsewhere: true } }
  }
}

/** The call that would be made, named before anybody is asked whether it shall be. */
function planOf({ caller, scope }: Question, parts: PipelineParts) {
  return { callId: randomUUID(), at: parts.now(), team: caller.team.id, scope }
}
