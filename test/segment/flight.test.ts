import t from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { StoreError } from '../../src/contracts/store.js'
import { segment } from '../../src/segment/pipeline.js'
import type { EarlierCall } from '../../src/segment/ports.js'
import {
  answered,
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

const DEAD = {
  token: 'dead',
  heartbeat: 3,
  note: JSON.stringify({ callId: 'dead', at: 999_000, team: 'vision', scope: '' }),
}

function earlierCall(of: ReturnType<typeof world>, changes: Partial<EarlierCall> = {}): EarlierCall {
  return { state: 'reserved', at: 999_000, team: 'vision', cacheKey: KEY, reservation: of.reservation, ...changes }
}

t.test('a process follows an identical purchase of another process and pays nothing', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const followers = [other.ask(), other.ask()]
  await settled()
  t.equal(shared.leases.watchers, 1, 'one watcher serves both')
  calls.open()
  t.match(await leader, { how: 'miss', charged: 1700 })
  for (const follower of followers) {
    const answer = await follower
    t.match(answer, { how: 'coalesced', charged: 0, stored: true })
    t.ok(answer.timing.upstreamMs > 0)
  }
  t.equal(one.state.calls + other.state.calls, 1)
  t.equal(shared.leases.watchers, 0)
})

t.test(
  "a silent leader is declared dead: one follower takes over, and the leader's reservation becomes unknown",
  async t => {
    const shared = sharedState()
    shared.leases.names.set(KEY, DEAD)
    const [one, other] = [world({}, shared), world({}, shared)]
    shared.calls.set('dead', earlierCall(one))
    const answers = await Promise.all([one.ask(), other.ask()])
    t.same(answers.map(({ how }) => how).sort(), ['coalesced', 'miss'])
    t.equal(one.state.calls + other.state.calls, 1)
    t.match([...one.planned, ...other.planned], [{ purchase: 'takeover' }])
    t.equal([...one.steps, ...other.steps].filter(step => step === 'takeover').length, 1)
    t.ok(one.steps.includes('unknown'))
  },
)

t.test('a follower waits for a leader that renews its lease, however long it takes', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const follower = other.ask()
  const beats = () => shared.leases.names.get(KEY)?.heartbeat ?? 0
  await eventually('the leader stopped renewing its lease', () => beats() >= 12)
  t.equal(other.state.calls, 0, 'the leader was silent for less than the limit at any time')
  calls.open()
  await Promise.all([leader, follower])
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('a leader reclaims a lease that the store has lost, and no follower takes over', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const follower = other.ask()
  await settled()
  shared.leases.names.clear()
  await eventually('the lease was never taken back', () => shared.leases.names.has(KEY))
  calls.open()
  t.match(await leader, { how: 'miss' })
  t.match(await follower, { how: 'coalesced' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test("a failure specific to another process's team does not fail this one", async t => {
  for (const code of ['budget_exhausted', 'overloaded', 'unknown_image'] as const) {
    const shared = sharedState()
    const [poor, rich] = [world({}, shared), world({}, shared)]
    const { promise, open } = gate()
    poor.parts.ledger.reserve = async () => {
      await promise
      throw new GatewayError(code, 'own')
    }
    const leader = poor.ask(request({ caller: aCaller({ id: 'poor' }) }))
    await settled()
    const follower = rich.ask()
    await settled()
    open()
    await t.rejects(leader, { code })
    t.match(await follower, { how: 'miss' }, code)
  }
})

t.test('a rejected input, or a failure that may have been billed, is shared with other processes', async t => {
  for (const [code, billed] of [
    ['upstream_rejected', 'no'],
    ['upstream_timeout', 'unknown'],
    ['upstream_failed', 'yes'],
  ] as const) {
    const shared = sharedState()
    const [one, other] = [world({}, shared), world({}, shared)]
    one.upstream.segment = async () => failure(code, billed, { cost: 1700 })
    const calls = held(one)
    const leader = one.ask()
    await settled()
    const follower = other.ask()
    await settled()
    calls.open()
    await t.rejects(leader, { code, billed })
    await t.rejects(follower, { code, billed: 'no', message: 'it failed' }, `${code}: it cost the follower nothing`)
    t.equal(other.state.calls, 0)
    t.match(await other.ask(), { how: 'miss' }, 'a later request buys again')
  }
})

t.test('a leader holds its lease until the store has the result', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const { promise, open } = gate()
  one.parts.results.keep = async (key, result) => ({
    stored: false,
    written: promise.then(() => {
      shared.cache.set(key, result)
      return true
    }),
  })
  t.match(await one.ask(), { how: 'miss', stored: false })
  const follower = other.ask()
  const beats = () => shared.leases.names.get(KEY)?.heartbeat ?? 0
  await eventually('the leader stopped renewing its lease', () => beats() >= 12)
  t.equal(other.state.calls, 0)
  open()
  t.match(await follower, { how: 'coalesced' })
  t.equal(other.state.calls, 0)
})

t.test('without a store the purchase continues unguarded, and acquires the lease when the store returns', async t => {
  const shared = sharedState()
  const one = world({}, shared)
  const calls = held(one)
  shared.leases.isDown = true
  const pending = one.ask()
  await settled()
  t.match(one.planned, [{ purchase: 'unguarded' }])
  shared.leases.isDown = false
  await eventually('the lease was never taken back', () => shared.leases.names.has(KEY))
  const other = world({}, shared)
  const follower = other.ask()
  await settled()
  calls.open()
  t.match(await pending, { how: 'miss' })
  t.match(await follower, { how: 'coalesced' })
})

t.test('a process that has seen another leader waits for an unreachable store and does not buy', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const follower = other.ask()
  await settled()
  shared.leases.isDown = true
  calls.open()
  await leader
  await settled()
  t.equal(other.state.calls, 0)
  shared.leases.isDown = false
  t.match(await follower, { how: 'coalesced' }, 'a failed release is retried with the next renewal')
  t.equal(other.state.calls, 0)
})

t.test('a purchase is unguarded when the store fails the second lookup', async t => {
  const one = world()
  one.state.isStoreDown = true
  await one.ask()
  t.match(one.planned, [{ purchase: 'unguarded' }])
})

t.test('an empty store is given time in which leaders reclaim their leases', async t => {
  const shared = sharedState()
  const one = world({}, shared)
  shared.leases.recoveryMs = 1
  const pending = one.ask()
  await settled()
  t.equal(one.state.calls, 0)
  shared.leases.recoveryMs = undefined
  t.match(await pending, { how: 'miss' })
})

t.test('a draining process takes no lease over', async t => {
  const shared = sharedState()
  shared.leases.names.set(KEY, DEAD)
  const one = world({}, shared)
  one.state.isDraining = true
  await t.rejects(one.ask(), { code: 'shutting_down' })
  t.equal(one.state.calls, 0)
})

t.test('a follower of another process times out alone; a later one keeps waiting', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({ clientTimeoutMs: 30 }, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const impatient = other.ask()
  await t.rejects(impatient, { code: 'upstream_slow', billed: 'unknown' })
  const later = other.ask()
  calls.open()
  await leader
  t.match(await later, { how: /coalesced|hit/ })
})

t.test("the job of a dead leader is polled, not submitted again, and charged to the leader's team", async t => {
  for (const state of ['reserved', 'unknown', 'charged'] as const) {
    const shared = sharedState()
    shared.leases.names.set(KEY, DEAD)
    const one = world({}, shared)
    shared.calls.set('dead', earlierCall(one, { state, jobId: 'job-1' }))
    t.match(await one.ask(), { how: 'coalesced', charged: 0, stored: true }, state)
    t.equal(one.state.calls, 0)
    t.same(one.planned, [])
    t.ok(one.steps.includes('resume job-1'))
    t.ok(one.steps.includes('settle 1700'))
    t.match(await one.ask(), { how: 'hit' })
  }
})

t.test('a successor that dies while polling leaves the job to the next one', async t => {
  const shared = sharedState()
  shared.leases.names.set(KEY, DEAD)
  const [one, other] = [world({ clientTimeoutMs: 1_000 }, shared), world({}, shared)]
  shared.calls.set('dead', earlierCall(one, { jobId: 'job-1' }))
  const calls = held(one)
  const dying = one.ask().catch(() => undefined)
  await eventually('the job was never polled', () => one.steps.includes('resume job-1'))
  const { token = '', note = '' } = shared.leases.names.get(KEY) ?? {}
  t.not(token, 'dead')
  // The process dies and leaves only what it has written.
  shared.leases.names.set(KEY, { token: 'died, too', heartbeat: 7, note })
  t.match(await other.ask(), { how: 'coalesced', charged: 0 })
  t.ok(other.steps.includes('resume job-1'))
  t.equal(one.state.calls + other.state.calls, 0)
  calls.open()
  await dying
})

t.test('a job that Segmind no longer knows, or that is too old, is bought again', async t => {
  const shared = sharedState()
  shared.leases.names.set(KEY, DEAD)
  const one = world({}, shared)
  shared.calls.set('dead', earlierCall(one, { jobId: 'job-1' }))
  one.parts.upstream.resume = async () => failure('upstream_failed', 'unknown')
  t.match(await one.ask(), { how: 'miss' })
  t.match(one.planned, [{ purchase: 'takeover' }])
  t.ok(one.steps.includes('unknown'))

  const late = sharedState()
  late.leases.names.set(KEY, DEAD)
  const two = world({}, late)
  late.calls.set('dead', earlierCall(two, { jobId: 'job-1', at: two.state.now - 56 * 60_000 }))
  t.match(await two.ask(), { how: 'miss' })
  t.notOk(two.steps.includes('resume job-1'))
})

t.test('an unreachable ledger prevents a second purchase of what may be in flight', async t => {
  const shared = sharedState()
  shared.leases.names.set(KEY, DEAD)
  const one = world({}, shared)
  shared.calls.set('dead', earlierCall(one, { jobId: 'job-1' }))
  const { find } = one.parts.ledger
  one.parts.ledger.find = async () => {
    throw new StoreError('down')
  }
  await t.rejects(one.ask(), { code: 'store_unavailable', retryAfterSeconds: 5 })
  t.equal(one.state.calls, 0)
  one.parts.ledger.find = find
  t.match(await one.ask(), { how: 'coalesced', charged: 0 }, 'the next request finds the job')
  t.equal(one.state.calls, 0)
})

t.test('a job that timed out stays open, and the next request polls it', async t => {
  const shared = sharedState()
  const one = world({}, shared)
  const plain = one.parts.upstream.segment
  one.parts.upstream.segment = async (_image, _params, { onSubmitted }) => {
    await onSubmitted('job-1')
    return failure('upstream_timeout', 'unknown')
  }
  await t.rejects(one.ask(), { code: 'upstream_timeout', billed: 'unknown' })
  const [{ callId = '' } = {}] = one.planned
  shared.calls.set(callId, earlierCall(one, { state: 'unknown', jobId: 'job-1' }))
  one.parts.upstream.segment = plain
  t.match(await one.ask(), { how: 'coalesced', charged: 0 })
  t.equal(one.state.calls, 0)
  t.ok(one.steps.includes('resume job-1'))
})

t.test('with COALESCE=off every request buys', async t => {
  const shared = sharedState()
  const one = world({ coalesce: false }, shared)
  const answers = await Promise.all([one.ask(), one.ask(), one.ask()])
  t.same(
    answers.map(({ how }) => how),
    ['miss', 'miss', 'miss'],
  )
  t.equal(one.state.calls, 3)
  t.match(one.planned, [{ purchase: 'uncoalesced' }, { purchase: 'uncoalesced' }, { purchase: 'uncoalesced' }])
  t.match(await one.ask(), { how: 'hit' })
})

const noStore = { ...NO_DIRECTIVES, noStore: true }
const noCache = { ...NO_DIRECTIVES, noCache: true }

t.test('an Idempotency-Key makes a cache-bypassing purchase once and replays it for a day', async t => {
  const one = world()
  const repeated = request({ cache: noStore, idempotencyKey: 'order 1' })
  t.match(await one.ask(repeated), { how: 'bypass', charged: 1700, stored: false, isReplay: false })
  t.match(await one.ask(repeated), { how: 'hit', charged: 0, isReplay: true })
  t.match(await one.ask(request({ cache: noStore, idempotencyKey: 'order 2' })), { how: 'bypass' })
  t.match(await one.ask(request({ cache: noStore })), { how: 'bypass' })
  t.equal(one.state.calls, 3)
  t.notOk(one.cache.has(KEY), 'no-store: other requests do not find it')
  one.state.now += 86_400_000
  t.match(await one.ask(repeated), { how: 'bypass' })
})

t.test('an Idempotency-Key belongs to one question and one team', async t => {
  const one = world()
  const once = { cache: noCache, idempotencyKey: 'k' }
  await one.ask(request(once))
  t.ok(one.cache.has(KEY), 'a no-cache result is kept for all')
  await t.rejects(one.ask(request({ ...once, params: { prompt: 'dog', overlayMask: true } })), {
    code: 'idempotency_key_reused',
    billed: 'no',
  })
  t.match(await one.ask(request({ ...once, caller: aCaller({ id: 'other' }) })), { how: 'bypass' })
  t.equal(one.state.calls, 2)
})

t.test('a second request with the same Idempotency-Key waits for the first, in any process', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const repeated = request({ cache: noStore, idempotencyKey: 'k' })
  const first = one.ask(repeated)
  await settled()
  const again = [one.ask(repeated), other.ask(repeated)]
  const different = other.ask(request({ ...repeated, params: { prompt: 'dog', overlayMask: true } }))
  await settled()
  calls.open()
  t.match(await first, { how: 'bypass', isReplay: false })
  for (const one of again) t.match(await one, { how: 'coalesced', charged: 0, isReplay: true })
  await t.rejects(different, { code: 'idempotency_key_reused' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('respond-async answers 202, unless there is a result or a refusal at once', async t => {
  const one = world()
  const later = { prefer: { respondAsync: true, waitMs: 5 } }
  const calls = held(one)
  t.same(await segment(request(later), one.parts), { how: 'accepted', key: KEY })
  calls.open()
  t.match(await one.ask(request({ prefer: { respondAsync: true } })), { how: /coalesced|hit/ })
  t.match(await one.ask(request(later)), { how: 'hit' })

  const poor = world()
  poor.parts.ledger.reserve = async () => {
    throw new GatewayError('budget_exhausted', 'spent')
  }
  await t.rejects(poor.ask(request({ prefer: { respondAsync: true } })), { code: 'budget_exhausted' })
})

t.test('respond-async promises nothing where the id would lead to an older result', async t => {
  const asyncly = { respondAsync: true, waitMs: 5 }
  for (const cache of [noCache, noStore]) {
    const one = world()
    const calls = held(one)
    one.cache.set(KEY, kept('old', one.state.now - 30_000))
    await t.rejects(segment(request({ cache, prefer: asyncly }), one.parts), { code: 'upstream_slow' })
    calls.open()
  }
  const older = world()
  const olderCalls = held(older)
  older.cache.set(KEY, kept('old', older.state.now - 30_000))
  const atMost = request({ cache: { ...NO_DIRECTIVES, maxAgeSeconds: 1 }, prefer: asyncly })
  t.match(await segment(atMost, older.parts), { how: 'stale' })
  olderCalls.open()
  const past = world()
  const pastCalls = held(past)
  past.cache.set(KEY, kept('old', past.state.now - 120_000))
  t.match(await segment(request({ prefer: { respondAsync: true, waitMs: 5 } }), past.parts), { how: 'accepted' })
  pastCalls.open()
})

t.test('Prefer: wait shortens the wait and never extends it', async t => {
  const one = world({ clientTimeoutMs: 20 })
  const calls = held(one)
  await t.rejects(one.ask(request({ prefer: { respondAsync: false, waitMs: 3_600_000 } })), { code: 'upstream_slow' })
  await t.rejects(one.ask(request({ prefer: { respondAsync: false, waitMs: 0 } })), { code: 'upstream_slow' })
  calls.open()
  t.match(await answered(segment(request(), one.parts)), { how: /coalesced|hit/ })
})
