import { type Nanocredits, toCredits } from '../nanocredits.js'
import { KEY_PARTS } from '../segment/cache-key.js'
import type { Story, StoryLeader } from '../segment/story.js'
import type { LedgerEntry } from '../storage.js'

/** A finished request, as the shell tells it. Durations in milliseconds. */
export interface FinishedRequest {
  requestId: string
  route: string
  team: string
  keyId: string
  status: number
  error?: string
  how?: string
  charged?: Nanocredits
  durationMs: number
  uploadMs?: number
  cacheMs?: number
  upstreamMs: number
  story: Story
}

type StoredCall = Story['call']

/** What is kept of a request: JSON, without picture and without key. Amounts are credits, times ISO 8601. */
export type Explanation = ReturnType<typeof explanationOf>

/** Takes down a request; `at` is when it came, milliseconds since 1970, `id` tells it from others under the same request id. */
export function explanationOf(finished: FinishedRequest, { id, at }: { id: string; at: number }) {
  const { requestId, route, team, keyId, status, error, how, charged, story } = finished
  const { question, looks, flight, call, attempts } = story
  return {
    id,
    ...{ requestId, at: iso(at), route, team, keyId, status },
    ...(error !== undefined && { code: error }),
    ...(question && { question: questionOf(question) }),
    cache: {
      ...(how !== undefined && { how }),
      looks: looks.map(({ boughtAt, ...look }) => ({
        ...look,
        ...(boughtAt !== undefined && { boughtAt: iso(boughtAt) }),
      })),
    },
    ...(flight && { flight }),
    ...(call && { call: call as StoredCall }),
    attempts: attempts.map(({ afterMs, durationMs, ...attempt }) => ({
      ...attempt,
      afterMs: Math.round(afterMs),
      durationMs: Math.round(durationMs),
    })),
    waits: waitsOf(finished),
    ...(charged !== undefined && { chargedCredits: toCredits(charged) }),
    ...balancesOf(story),
  }
}

/** The same for people: with what the ledger says by now about the call that was made, or followed. */
export function told(
  { id: _ours, call, flight, ...rest }: Explanation,
  entryOf: (callId: string) => LedgerEntry | undefined,
) {
  return {
    ...rest,
    ...(flight && { flight: { ...flight, ...(flight.leader && { leader: leaderOf(flight.leader, entryOf) }) } }),
    ...(call && { call: callOf(call, entryOf(call.callId)) }),
  }
}

function questionOf({ resultId, digest, params, scope, cache, isOnce }: NonNullable<Story['question']>) {
  const { noCache, noStore, onlyIfCached, maxAgeSeconds } = cache
  const directives = [
    noCache && 'no-cache',
    noStore && 'no-store',
    onlyIfCached && 'only-if-cached',
    maxAgeSeconds !== undefined && `max-age=${maxAgeSeconds}`,
  ].filter(directive => typeof directive === 'string')
  return {
    ...{
      resultId,
      ...KEY_PARTS,
      imageId: `sha256:${digest}`,
      params,
      cacheControl: directives,
      idempotencyKey: isOnce,
    },
    ...(scope !== '' && { scope }),
  }
}

function waitsOf({ uploadMs, cacheMs, upstreamMs, durationMs, story }: FinishedRequest) {
  const spans = { uploadMs, cacheMs, queueMs: story.queueMs, upstreamMs, totalMs: durationMs }
  const known = Object.entries(spans).flatMap(([name, ms]) =>
    ms === undefined ? [] : [[name, Math.round(ms * 10) / 10]],
  )
  return Object.fromEntries(known) as Record<string, number>
}

function balancesOf({ balanceBefore, balanceAfter }: Story) {
  return {
    ...(balanceBefore !== undefined && { balanceBeforeCredits: toCredits(balanceBefore) }),
    ...(balanceAfter !== undefined && { balanceAfterCredits: toCredits(balanceAfter) }),
  }
}

function leaderOf({ at, ...leader }: StoryLeader, entryOf: (callId: string) => LedgerEntry | undefined) {
  const entry = leader.callId === undefined ? undefined : entryOf(leader.callId)
  return {
    ...leader,
    ...(at !== undefined && { at: iso(at) }),
    ...(entry && { requestId: entry.requestId, call: callOf(undefined, entry) }),
  }
}

/** `released`: what was held for it was given back, since Segmind did not bill it. */
function callOf(call: StoredCall, entry: LedgerEntry | undefined) {
  if (!entry) return { callId: call?.callId, purchase: call?.purchase, outcome: 'released' }
  const { callId, purchase = 'first', estimate, state, settled, jobId } = entry
  return {
    ...{ callId, purchase, outcome: state, estimateCredits: toCredits(estimate) },
    ...(settled && {
      ...{ costCredits: toCredits(settled.cost), costSource: settled.costSource, settledAt: iso(settled.settledAt) },
      ...(settled.upstreamRequestId !== undefined && { upstreamRequestId: settled.upstreamRequestId }),
    }),
    ...(jobId !== undefined && { jobId }),
  }
}

function iso(at: number): string {
  return new Date(at).toISOString()
}
