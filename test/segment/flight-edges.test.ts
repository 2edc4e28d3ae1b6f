import t from 'tap'
import { ResultCache } from '../../src/cache/result-cache.js'
import { GatewayError } from '../../src/contracts/errors.js'
import { StoreError } from '../../src/contracts/store.js'
import { cacheKey } from '../../src/segment/cache-key.js'
import { withClientDeadline } from '../../src/segment/failures.js'
import { keyRequest, type SegmentRequest } from '../../src/segment/keyed-request.js'
import { segment } from '../../src/segment/pipeline.js'
import type { PipelineParts } from '../../src/segment/ports.js'
import { lookUpResult } from '../../src/segment/result-lookup.js'
import {
  DIGEST,
  failure,
  gate,
  held,
  KEY,
  kept,
  NO_DIRECTIVES,
  request,
  settled,
  sharedState,
  world,
} from '../support/doubles/pipeline-world.js'
import { aCaller } from '../support/doubles/team.js'
import { eventually } from '../support/eventually.js'

const noStore = { ...NO_DIRECTIVES, noStore: true }
const noCache = { ...NO_DIRECTIVES, noCache: true }
const DOG = { prompt: 'dog', overlayMask: true }

/** The job of `one` times out and stays open. */
async function openJob(one: ReturnType<typeof world>, input = request()) {
  const plain = one.parts.upstream.segment
  one.parts.upstream.segment = async (_i, _p, { onSubmitted }) => {
    one.state.calls++
    await onSubmitted('job-1')
    return failure('upstream_timeout', 'unknown')
  }
  await t.rejects(one.ask(input), { code: 'upstream_timeout' })
  one.parts.upstream.segment = plain
  const [{ callId = '', cacheKey: key = '' } = {}] = one.planned
  one.calls.set(callId, {
    state: 'unknown',
    at: 999_000,
    team: 'vision',
    jobId: 'job-1',
    reservation: one.reservation,
    cacheKey: key,
  })
}

t.test('a job that times out twice is not submitted again', async t => {
  const one = world()
  await openJob(one)
  const resume = one.parts.upstream.resume
  one.parts.upstream.resume = async () => failure('upstream_timeout', 'unknown')
  await t.rejects(one.ask(), { code: 'upstream_timeout' })
  one.parts.upstream.resume = resume
  await one.ask()
  t.equal(one.state.calls, 1, 'submitted once')
  t.equal(one.planned.length, 1, JSON.stringify(one.planned.map(p => p.purchase)))
})

t.test('a successor that dies while polling leaves the job to the next leader', async t => {
  const shared = sharedState()
  const one = world({ clientTimeoutMs: 1_000 }, shared)
  one.calls.set('dead', {
    state: 'reserved',
    at: 999_000,
    team: 'vision',
    jobId: 'job-1',
    reservation: one.reservation,
    cacheKey: KEY,
  })
  shared.leases.names.set(KEY, {
    token: 'dead',
    heartbeat: 3,
    note: JSON.stringify({ callId: 'dead', at: 999_000, team: 'vision', scope: '' }),
  })
  one.parts.upstream.resume = () => new Promise(() => {})
  void one.ask().catch(() => {})
  await eventually('the lease was never taken over', () => shared.leases.names.get(KEY)?.token !== 'dead')
  // The process dies: it no longer renews its lease.
  ;(one.flights as unknown as { close(): Promise<void> }).close()
  const two = world({}, shared)
  await two.ask()
  t.equal(two.state.calls, 0, 'not submitted again')
})

t.test('a second question under an Idempotency-Key neither gets nor replaces the first result', async t => {
  const one = world()
  await openJob(one, request({ cache: noCache, idempotencyKey: 'k' }))
  const other = request({ cache: noCache, idempotencyKey: 'k', params: DOG })
  const answer = await one.ask(other).catch((error: GatewayError) => error.code)
  t.comment(String(typeof answer === 'string' ? answer : answer.how))
  t.notOk(
    one.steps.includes('resume job-1') && one.cache.has(cacheKey(DIGEST, DOG, '')),
    "the dog question must not return the cup's picture",
  )
})

t.test('the last follower of a flight that waits for another process gives up at its own deadline', async t => {
  const { promise, open } = gate()
  const one = world()
  const take = one.parts.leases.take.bind(one.parts.leases)
  one.parts.leases = { ...one.parts.leases, take: (...given) => promise.then(() => take(...given)) }
  const impatient = () => request({ prefer: { respondAsync: false, waitMs: 10 }, onGone: () => {} })
  await t.rejects(one.ask(impatient()), { code: 'upstream_slow' }, 'the leader')
  await t.rejects(one.ask(impatient()), { code: 'upstream_slow' }, 'the follower, before the flight has ended')
  t.equal(one.parts.flights.leaderOf(KEY)?.team, 'vision')
  open()
})

t.test('a follower whose time ends as its leader fails learns nothing of the budget of the other team', async t => {
  const { promise, open } = gate()
  const one = world()
  one.parts.ledger.reserve = async () => {
    await promise
    throw new GatewayError('budget_exhausted', 'Team vision has booked 3 credits.')
  }
  const leading = t.rejects(one.ask(), { code: 'budget_exhausted' })
  await settled()
  const { flights } = one.parts
  const join = flights.join.bind(flights)
  flights.join = (...given) => {
    open()
    return join(...given)
  }
  const prefer = { respondAsync: false, waitMs: 0 }
  const following = one.ask(request({ caller: aCaller({ id: 'other' }), prefer, onGone: () => {} }))
  await t.rejects(following, { code: 'upstream_slow', message: /Nothing was bought/ })
  await leading
})

t.test('the wait of a caller never ends early, because a follower would lead then', async t => {
  for (let time = 0; time < 20; time++) {
    const deadline = performance.now() + Math.random() * 3
    await t.rejects(withClientDeadline(new Promise(() => {}), deadline), { code: 'upstream_slow' })
    t.ok(performance.now() >= deadline)
  }
})

t.test('respond-async does not shorten the wait where the result cannot be fetched later', async t => {
  const { parts } = world()
  const prefer = { respondAsync: true }
  const patienceOf = (input: SegmentRequest, of: PipelineParts) => keyRequest(input, of).deadline - performance.now()
  for (const cache of [noCache, noStore]) t.ok(patienceOf(request({ cache, prefer }), parts) > 1_000)
  t.ok(patienceOf(request({ prefer }), world({ coalesce: false }).parts) > 1_000)
  t.ok(patienceOf(request({ prefer }), parts) <= 250)
})

t.test('with COALESCE=off an accepted request is reported as running', async t => {
  const one = world({ coalesce: false, clientTimeoutMs: 2_000 })
  const calls = held(one)
  const asking = segment(request({ prefer: { respondAsync: true, waitMs: 5 } }), one.parts).then(
    a => a.how,
    (e: GatewayError) => e.code,
  )
  const how = await asking
  const state = await lookUpResult(KEY, aCaller(), one.parts).then(
    s => s.how as string,
    (e: GatewayError) => e.code,
  )
  t.not(`${how} ${state}`, 'accepted unknown_result')
  calls.open()
})

t.test("a result lookup does not reveal another team's budget failure", async t => {
  const one = world()
  one.parts.ledger.reserve = async () => {
    throw new GatewayError('budget_exhausted', 'Team vision has booked 4.9 of its daily budget of 5 credits.', {
      retryAfterSeconds: 86_000,
    })
  }
  await t.rejects(one.ask(), { code: 'budget_exhausted' })
  await t.rejects(lookUpResult(KEY, aCaller({ id: 'other' }), one.parts), { code: 'unknown_result' })
})

t.test('a result bought during the wait satisfies any max-age, in other processes too', async t => {
  const shared = sharedState()
  const worlds = [1, 2, 3].map(() => world({}, shared))
  const { promise, open } = gate()
  for (const each of worlds) {
    const plain = each.upstream.segment
    each.upstream.segment = async () => {
      await promise
      // Time passes between the purchase and the lookup of the waiting requests.
      for (const other of worlds) other.state.now += 1_000
      const outcome = await plain()
      for (const other of worlds) other.parts.now = () => other.state.now + 5_000 * Number(other !== each)
      return outcome
    }
  }
  const zero = request({ cache: { ...NO_DIRECTIVES, maxAgeSeconds: 0 } })
  const pending = worlds.flatMap(each => [each.ask(zero), each.ask(zero)])
  await settled()
  open()
  await Promise.all(pending)
  t.equal(
    worlds.reduce((sum, { state }) => sum + state.calls, 0),
    1,
  )
})

t.test('the ledger records no-store and no-cache under an Idempotency-Key too', async t => {
  const one = world()
  await one.ask(request({ cache: noStore, idempotencyKey: 'a' }))
  await one.ask(request({ cache: noCache, idempotencyKey: 'b' }))
  t.same(
    one.planned.map(p => p.purchase),
    ['no-store', 'no-cache'],
  )
})

t.test('an older result waiting for the store does not replace a newer one', async t => {
  const blobs = new Map<string, string>()
  let isDown = true
  const cache = new ResultCache({
    memoryBytes: 0,
    store: {
      get: async key => (blobs.has(key) ? { meta: blobs.get(key) as string, body: Buffer.from('x') } : undefined),
      put: async (key, blob) => {
        if (isDown) throw new StoreError('down')
        blobs.set(key, blob.meta)
      },
      has: async () => true,
      clear: async () => 0,
      delete: async () => true,
    },
    isStoreUp: () => !isDown,
    keepSeconds: 100,
    unsavedBytes: 1e6,
    observer: { storeFailed: () => {}, resultLost: () => {}, bodyDamaged: () => {} },
  })
  await cache.keep('k', kept('old', 1))
  isDown = false
  await cache.keep('k', kept('new', 2))
  await cache.unsaved.flush()
  t.equal(JSON.parse(blobs.get('k') as string).storedAt, 2)
})

t.test('under CACHE_SCOPE=team a flight is invisible to other teams', async t => {
  const one = world({ cacheScope: 'team' })
  const calls = held(one)
  const asking = one.ask()
  await settled()
  const key = cacheKey(DIGEST, request().params, 'vision')
  t.same(await lookUpResult(key, aCaller(), one.parts), { how: 'running' })
  await t.rejects(lookUpResult(key, aCaller({ id: 'other' }), one.parts), { code: 'unknown_result' })
  calls.open()
  await asking
})
