import { defined } from '../contracts/defined.js'
import { toCredits } from '../contracts/nanocredits.js'
import type { FinishedRequest } from '../contracts/records.js'
import type { LedgerEntry } from '../contracts/store.js'
import { KEY_PARTS } from '../segment/cache-key.js'
import type { Story, StoryLeader } from '../segment/story.js'

type StoredCall = Story['call']

/**
 * The stored JSON of a request, without picture and without key. Amounts in credits, times in ISO
 * 8601.
 */
export type Explanation = ReturnType<typeof explanationOf>

/**
 * Builds the explanation of a request. `at`: time of the request, milliseconds since 1970. `id`:
 * distinguishes requests under the same request id.
 */
export function explanationOf(finished: FinishedRequest, story: Story, { id, at }: { id: string; at: number }) {
  const { requestId, route, team, keyId = '', status, error, cache, charged } = finished
  const { question, looks, flight, call, attempts } = story
  return {
    id,
    requestId,
    at: iso(at),
    route,
    team,
    keyId,
    status,
    ...defined({ code: error, question: question && questionOf(question) }),
    cache: {
      ...(cache !== '' && { how: cache }),
      looks: looks.map(({ boughtAt, ...look }) => ({
        ...look,
        ...(boughtAt !== undefined && { boughtAt: iso(boughtAt) }),
      })),
    },
    ...defined({ flight, call }),
    attempts: attempts.map(({ afterMs, durationMs, ...attempt }) => ({
      ...attempt,
      afterMs: Math.round(afterMs),
      durationMs: Math.round(durationMs),
    })),
    waits: waitsOf(finished, story),
    ...defined({
      chargedCredits: creditsOf(charged),
      balanceBeforeCredits: creditsOf(story.balanceBefore),
      balanceAfterCredits: creditsOf(story.balanceAfter),
    }),
  }
}

/**
 * Completes an explanation for operators with the current ledger entry of the call it made or
 * followed.
 */
export function toJson(
  { id: _internal, call, flight, ...rest }: Explanation,
  entryOf: (callId: string) => LedgerEntry | undefined,
) {
  return {
    ...rest,
    ...(flight && { flight: { ...flight, ...(flight.leader && { leader: leaderOf(flight.leader, entryOf) }) } }),
    ...(call && { call: callOf(call, entryOf(call.callId)) }),
  }
}

function questionOf({ resultId, digest, params, scope, cache, isIdempotent }: NonNullable<Story['question']>) {
  const { noCache, noStore, onlyIfCached, maxAgeSeconds } = cache
  const directives = [
    noCache && 'no-cache',
    noStore && 'no-store',
    onlyIfCached && 'only-if-cached',
    maxAgeSeconds !== undefined && `max-age=${maxAgeSeconds}`,
  ].filter(directive => typeof directive === 'string')
  return {
    resultId,
    ...KEY_PARTS,
    imageId: `sha256:${digest}`,
    params,
    cacheControl: directives,
    idempotencyKey: isIdempotent,
    ...(scope !== '' && { scope }),
  }
}

function waitsOf({ uploadMs, cacheMs, upstreamMs, durationMs }: FinishedRequest, { queueMs }: Story) {
  const spans = defined({ uploadMs, cacheMs, queueMs, upstreamMs, totalMs: durationMs })
  const rounded = Object.entries(spans).map(([name, ms]) => [name, Math.round(ms * 10) / 10])
  return Object.fromEntries(rounded) as Record<string, number>
}

function leaderOf({ at, ...leader }: StoryLeader, entryOf: (callId: string) => LedgerEntry | undefined) {
  const entry = leader.callId === undefined ? undefined : entryOf(leader.callId)
  return {
    ...leader,
    ...(at !== undefined && { at: iso(at) }),
    ...(entry && { requestId: entry.requestId, call: callOf(undefined, entry) }),
  }
}

/** A call without a ledger entry was `released`: Segmind did not bill it. */
function callOf(call: StoredCall, entry: LedgerEntry | undefined) {
  if (!entry) return { callId: call?.callId, purchase: call?.purchase, outcome: 'released' }
  const { callId, purchase = 'first', estimate, state, settled, jobId } = entry
  return {
    callId,
    purchase,
    outcome: state,
    estimateCredits: toCredits(estimate),
    ...(settled && {
      costCredits: toCredits(settled.cost),
      costSource: settled.costSource,
      settledAt: iso(settled.settledAt),
      ...defined({ upstreamRequestId: settled.upstreamRequestId }),
    }),
    ...defined({ jobId }),
  }
}

function creditsOf(amount: number | undefined): number | undefined {
  return amount === undefined ? undefined : toCredits(amount)
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
