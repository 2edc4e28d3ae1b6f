import { randomUUID } from 'node:crypto'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { PurchaseKind } from '../contracts/ledger.js'
import type { Result } from '../contracts/types.js'
import { Audience } from './audience.js'
import type { LeaderContext } from './call.js'
import {
  abandoned,
  forFollower,
  isAbandoned,
  isClientTimeout,
  isLeaderSpecific,
  withClientDeadline,
} from './failures.js'
import type { KeyedRequest } from './keyed-request.js'
import { cached, isFresh, lookUp } from './lookup.js'
import type { FlightRole, How, PipelineParts, Purchase } from './ports.js'
import { buy } from './purchase.js'
import { timed } from './story.js'

export interface PurchaseOutcome {
  how: How
  purchase: Purchase
}

/**
 * Buys for this request alone (`no-cache`, `no-store`, `COALESCE=off`), whether or not an identical
 * one is in flight. Others may follow the purchase if its result is kept.
 */
export async function purchaseAlone(request: KeyedRequest, parts: PipelineParts): Promise<PurchaseOutcome> {
  const { name, caller, cache, mustBuy } = request
  const kind = cache.noStore ? 'no-store' : mustBuy ? 'no-cache' : 'uncoalesced'
  const audience = new Audience()
  const run = () => buy(request, { note: planCall(request, parts), purchase: kind, audience }, parts)
  const isKept = mustBuy && !cache.noStore
  const leader = { team: caller.team.id, audience }
  const purchase = isKept ? parts.flights.lead(name, leader, run) : parts.flights.alone(run)
  if (request.story) request.story.flight = { role: 'alone' }
  request.story?.recordWork(purchase)
  request.holdUntil?.(purchase)
  return { how: mustBuy ? 'bypass' : 'miss', purchase: await waitFor(purchase, audience, request) }
}

/**
 * Leads the flight of this request, or follows an identical request. Waits until the caller's
 * deadline at most.
 */
export async function purchaseShared(request: KeyedRequest, parts: PipelineParts): Promise<PurchaseOutcome> {
  const team = request.caller.team.id
  for (;;) {
    const joinedAt = performance.now()
    const audience = new Audience()
    const flight = parts.flights.join(request.name, { team, audience }, () => runFlight(request, audience, parts))
    recordFlight(request, flight)
    const waited = waitFor(flight.outcome, flight.leader.audience, request)
    if (flight.role === 'leader') {
      request.holdUntil?.(flight.outcome)
      const purchase = await waited
      return { how: howLed(purchase, request), purchase }
    }
    try {
      const { result, stored, written, by, bought, followed } = await timed(request.story, 'follow', waited)
      if (bought || followed || request.isAcceptable(result)) {
        const upstreamMs = performance.now() - joinedAt
        recordLeader(request, by)
        return { how: 'coalesced', purchase: { ...cached(result), stored, written, upstreamMs } }
      }
    } catch (error) {
      const isLeaders = isClientTimeout(error) || isLeaderSpecific(error, flight.leader.team === team)
      if (!isLeaders) throw forFollower(error)
      // The last caller of a purchase gives it up at its own deadline. It must not try again then.
      if (performance.now() >= request.deadline) throw forFollower(isClientTimeout(error) ? error : abandoned())
    }
    // A leader decides nothing for its followers when it fails for a reason of its own (its team's
    // budget, an image id without bytes, its deadline, all its callers left) or accepts an older
    // result than they do. They try again, and one of them leads.
  }
}

/**
 * Waits for a purchase as one of its callers, until the caller's deadline. A caller whose result is
 * fetched later never leaves the purchase.
 */
function waitFor(
  purchase: Promise<Purchase>,
  audience: Audience,
  { onGone, prefer, deadline }: KeyedRequest,
): Promise<Purchase> {
  const leave = audience.join()
  if (!onGone || prefer?.respondAsync) return withClientDeadline(purchase, deadline)
  onGone(leave)
  return withClientDeadline(purchase, deadline, leave)
}

function howLed(purchase: Purchase, { mustBuy }: KeyedRequest): How {
  if (purchase.bought) return mustBuy ? 'bypass' : 'miss'
  return purchase.followed ? 'coalesced' : 'hit'
}

/**
 * Runs this process's flight: acquires the lease and buys, or follows the process that holds it.
 */
async function runFlight(request: KeyedRequest, audience: Audience, parts: PipelineParts): Promise<Purchase> {
  const startedAt = performance.now()
  let isFollowing = false
  for (;;) {
    audience.signal.throwIfAborted()
    const note = planCall(request, parts)
    const waitMs = startedAt + parts.clientTimeoutMs - performance.now()
    const flight = await parts.leases.take(request.name, note, { waitMs, isFollowing })
    recordRole(request, flight)
    if (flight.role === 'leader') return lead(request, flight, { note, audience }, parts)
    // The rules for followers in `purchaseShared` apply here too.
    const { at, team } = flight.leader
    // A result bought while this process waited is new enough for any `max-age`. Both times are the
    // leader's.
    const isAcceptable = (result: Result) => request.isAcceptable(result) || (at > 0 && result.storedAt >= at)
    const { hit } = await lookUp('landed', { ...request, isAcceptable }, parts.results)
    if (hit) return { ...cached(hit), followed: true, upstreamMs: performance.now() - startedAt }
    const { error } = flight.outcome
    if (error && !isLeaderSpecific(error, team === note.team)) throw forFollower(error)
    isFollowing = true
  }
}

/**
 * Buys as the leader, and ends the flight for followers: with the error, or once they can find the
 * result.
 *
 * Looks in the cache again before it pays. This prevents a second purchase in this race: A looks
 * (miss) · B's purchase ends, is stored, and B leaves the flight · A finds no flight, leads a new
 * one and would pay again. A store that granted the lease and found no result in one step need not
 * be read again. A store that cannot be reached prevents nothing, so the purchase is marked
 * `unguarded`.
 */
async function lead(
  request: KeyedRequest,
  { purchase: kind, earlier, isStored, end }: FlightRole & { role: 'leader' },
  { note, audience }: Pick<LeaderContext, 'note' | 'audience'>,
  parts: PipelineParts,
): Promise<Purchase> {
  const leader: LeaderContext = {
    note,
    audience,
    purchase: kind,
    lookAgain: async () => (await lookUp('again', request, parts.results)).hit,
    ...defined({ earlier }),
  }
  try {
    const { hit, result, isSure } = await lookUp('again', { ...request, isStored }, parts.results)
    const isTooOld = result !== undefined && isFresh(result, parts)
    leader.purchase = kindOf(request, kind, { isSure, isTooOld })
    const purchase = hit ? cached(hit) : await buy(request, leader, parts)
    void purchase.written.then(() => end({}))
    return purchase
  } catch (error) {
    const known =
      error instanceof GatewayError
        ? error
        : new GatewayError('internal_error', 'The purchase failed inside the gateway.')
    // Without an error and a result, followers in other processes try again.
    end(defined({ error: isAbandoned(error) ? undefined : known, openJob: leader.openJob }))
    throw error
  }
}

/**
 * Returns the kind for the ledger. `no-store` comes first: recovery of an orphan must not keep its
 * result. `isTooOld`: the cache has a fresh result, which is older than the `max-age` of the
 * request.
 */
function kindOf(
  { cache, mustBuy }: KeyedRequest,
  led: PurchaseKind,
  { isSure, isTooOld }: { isSure: boolean; isTooOld: boolean },
): PurchaseKind {
  if (cache.noStore && mustBuy) return 'no-store'
  if (led !== 'first') return led
  if (!isSure) return 'unguarded'
  return mustBuy || isTooOld ? 'no-cache' : 'first'
}

function recordFlight({ story }: KeyedRequest, { role, leader, outcome }: JoinedFlight): void {
  if (!story) return
  story.flight = { role, ...(role === 'follower' && { leader: { team: leader.team, isElsewhere: false } }) }
  if (role === 'leader') story.recordWork(outcome)
}

function recordLeader({ story }: KeyedRequest, by: Purchase['by']): void {
  if (story?.flight && by) story.flight.leader = { ...by, isElsewhere: false }
}

type JoinedFlight = ReturnType<PipelineParts['flights']['join']>

/** Records whether this process leads the flight among all processes, or follows another one. */
function recordRole({ story }: KeyedRequest, role: FlightRole): void {
  if (!story?.flight) return
  if (role.role === 'leader') story.flight.seat = role.purchase
  else {
    const { team, callId, at } = role.leader
    story.flight = { role: 'follower', leader: { team, callId, at, isElsewhere: true } }
  }
}

/** Names the call before the lease decides whether it will be made. */
function planCall({ caller, scope }: KeyedRequest, parts: PipelineParts) {
  return { callId: randomUUID(), at: parts.now(), team: caller.team.id, scope }
}
