import t from 'tap'
import { GatewayError } from '../../src/errors.js'
import { segment } from '../../src/segment/pipeline.js'
import type { EarlierCall } from '../../src/segment/ports.js'
import { StoreError } from '../../src/storage.js'
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
  shop,
  world,
} from '../support/pipeline-world.js'
import { aCaller } from '../support/team.js'

const DEAD = {
  token: 'dead',
  beat: 3,
  note: JSON.stringify({ callId: 'dead', at: 999_000, team: 'vision', scope: '' }),
}

function earlierCall(of: ReturnType<typeof world>, changes: Partial<EarlierCall> = {}): EarlierCall {
  return { state: 'reserved', at: 999_000, team: 'vision', cacheKey: KEY, reservation: of.reservation, ...changes }
}

t.test('a process that asks the same while another one buys it waits, and pays nothing', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const followers = [other.ask(), other.ask()]
  await settled()
  t.equal(shared.leases.watchers, 1, 'one of them waits for both')
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
  'a leader of whom nothing is heard has died: one follower takes over, and what it had reserved is unknown',
  async t => {
    const shared = shop()
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

t.test('a leader that is heard of is waited for, however long it takes', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const follower = other.ask()
  const beats = () => shared.leases.names.get(KEY)?.beat ?? 0
  while (beats() < 12) await settled()
  t.equal(other.state.calls, 0, 'three times as long as silence would be believed')
  calls.open()
  await Promise.all([leader, follower])
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('a lease that the store has lost is taken back by its leader, and nobody takes over', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const leader = one.ask()
  await settled()
  const follower = other.ask()
  await settled()
  shared.leases.names.clear()
  while (!shared.leases.names.has(KEY)) await settled()
  calls.open()
  t.match(await leader, { how: 'miss' })
  t.match(await follower, { how: 'coalesced' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test("another process's own failure (its budget, its queue) decides nothing here", async t => {
  for (const code of ['budget_exhausted', 'overloaded', 'unknown_image'] as const) {
    const shared = shop()
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

t.test(
  "Segmind's refusal of this input, or a failure that may have been billed, is shared with other processes",
  async t => {
    for (const [code, billed] of [
      ['upstream_rejected', 'no'],
      ['upstream_timeout', 'unknown'],
      ['upstream_failed', 'yes'],
    ] as const) {
      const shared = shop()
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
      t.match(await other.ask(), { how: 'miss' }, 'whoever asks later asks anew')
    }
  },
)

t.test('the lease is held until the result is in the store: nobody buys what only this process can see', async t => {
  const shared = shop()
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
  const beats = () => shared.leases.names.get(KEY)?.beat ?? 0
  while (beats() < 12) await settled()
  t.equal(other.state.calls, 0)
  open()
  t.match(await follower, { how: 'coalesced' })
  t.equal(other.state.calls, 0)
})

t.test(
  'without a store nobody can be asked: the call goes on and says so in the ledger, and takes the lease when it can',
  async t => {
    const shared = shop()
    const one = world({}, shared)
    const calls = held(one)
    shared.leases.isDown = true
    const asked = one.ask()
    await settled()
    t.match(one.planned, [{ purchase: 'unguarded' }])
    shared.leases.isDown = false
    while (!shared.leases.names.has(KEY)) await settled()
    const other = world({}, shared)
    const follower = other.ask()
    await settled()
    calls.open()
    t.match(await asked, { how: 'miss' })
    t.match(await follower, { how: 'coalesced' })
  },
)

t.test('who has seen another lead waits for a store that does not answer, and does not buy meanwhile', async t => {
  const shared = shop()
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
  t.match(await follower, { how: 'coalesced' }, 'the landing that failed is tried again with the next beat')
  t.equal(other.state.calls, 0)
})

t.test('a second look that the store does not answer guards nothing', async t => {
  const one = world()
  one.state.isStoreDown = true
  await one.ask()
  t.match(one.planned, [{ purchase: 'unguarded' }])
})

t.test('a store that is new is given the time to hear of the leaders elsewhere', async t => {
  const shared = shop()
  const one = world({}, shared)
  shared.leases.settlingMs = 1
  const asked = one.ask()
  await settled()
  t.equal(one.state.calls, 0)
  shared.leases.settlingMs = undefined
  t.match(await asked, { how: 'miss' })
})

t.test('a process that is stopping takes nothing over', async t => {
  const shared = shop()
  shared.leases.names.set(KEY, DEAD)
  const one = world({}, shared)
  one.state.isDraining = true
  await t.rejects(one.ask(), { code: 'shutting_down' })
  t.equal(one.state.calls, 0)
})

t.test('patience ends for a follower of another process, too; one that came later goes on waiting', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({ patienceMs: 30 }, shared)]
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

t.test('a job that a dead leader has submitted is polled, never submitted again; its team has paid', async t => {
  for (const state of ['reserved', 'unknown', 'charged'] as const) {
    const shared = shop()
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

t.test('a successor that dies while it polls leaves the job to the next one', async t => {
  const shared = shop()
  shared.leases.names.set(KEY, DEAD)
  const [one, other] = [world({ patienceMs: 1_000 }, shared), world({}, shared)]
  shared.calls.set('dead', earlierCall(one, { jobId: 'job-1' }))
  held(one)
  void one.ask().catch(() => undefined)
  while (!one.steps.includes('resume job-1')) await settled()
  const { token = '', note = '' } = shared.leases.names.get(KEY) ?? {}
  t.not(token, 'dead')
  // It dies: what it has written is all there is.
  shared.leases.names.set(KEY, { token: 'died, too', beat: 7, note })
  t.match(await other.ask(), { how: 'coalesced', charged: 0 })
  t.ok(other.steps.includes('resume job-1'))
  t.equal(one.state.calls + other.state.calls, 0)
})

t.test('a job that Segmind does not know any more, or that is too old, is bought anew', async t => {
  const shared = shop()
  shared.leases.names.set(KEY, DEAD)
  const one = world({}, shared)
  shared.calls.set('dead', earlierCall(one, { jobId: 'job-1' }))
  one.parts.upstream.resume = async () => failure('upstream_failed', 'unknown')
  t.match(await one.ask(), { how: 'miss' })
  t.match(one.planned, [{ purchase: 'takeover' }])
  t.ok(one.steps.includes('unknown'))

  const late = shop()
  late.leases.names.set(KEY, DEAD)
  const two = world({}, late)
  late.calls.set('dead', earlierCall(two, { jobId: 'job-1', at: two.state.now - 56 * 60_000 }))
  t.match(await two.ask(), { how: 'miss' })
  t.notOk(two.steps.includes('resume job-1'))
})

t.test(
  'a ledger that cannot be asked about the dead decides nothing: what may be under way is not bought again',
  async t => {
    const shared = shop()
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
    t.match(await one.ask(), { how: 'coalesced', charged: 0 }, 'the next one finds the job')
    t.equal(one.state.calls, 0)
  },
)

t.test('a job whose time ran out stays open: the next one who asks polls it', async t => {
  const shared = shop()
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

t.test('COALESCE=off: everybody buys', async t => {
  const shared = shop()
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

t.test('an Idempotency-Key buys once what bypasses the cache, and replays it for a day', async t => {
  const one = world()
  const asked = request({ cache: noStore, idempotencyKey: 'order 1' })
  t.match(await one.ask(asked), { how: 'bypass', charged: 1700, stored: false, isReplay: false })
  t.match(await one.ask(asked), { how: 'hit', charged: 0, isReplay: true })
  t.match(await one.ask(request({ cache: noStore, idempotencyKey: 'order 2' })), { how: 'bypass' })
  t.match(await one.ask(request({ cache: noStore })), { how: 'bypass' })
  t.equal(one.state.calls, 3)
  t.notOk(one.cache.has(KEY), 'no-store: nobody else finds it')
  one.state.now += 86_400_000
  t.match(await one.ask(asked), { how: 'bypass' })
})

t.test('an Idempotency-Key belongs to one question and one team', async t => {
  const one = world()
  const once = { cache: noCache, idempotencyKey: 'k' }
  await one.ask(request(once))
  t.ok(one.cache.has(KEY), 'no-cache: what was bought is kept for all')
  await t.rejects(one.ask(request({ ...once, params: { prompt: 'dog', overlayMask: true } })), {
    code: 'idempotency_key_reused',
    billed: 'no',
  })
  t.match(await one.ask(request({ ...once, caller: aCaller({ id: 'other' }) })), { how: 'bypass' })
  t.equal(one.state.calls, 2)
})

t.test('a second request with the same Idempotency-Key waits for the first, in any process', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const asked = request({ cache: noStore, idempotencyKey: 'k' })
  const first = one.ask(asked)
  await settled()
  const again = [one.ask(asked), other.ask(asked)]
  const different = other.ask(request({ ...asked, params: { prompt: 'dog', overlayMask: true } }))
  await settled()
  calls.open()
  t.match(await first, { how: 'bypass', isReplay: false })
  for (const one of again) t.match(await one, { how: 'coalesced', charged: 0, isReplay: true })
  await t.rejects(different, { code: 'idempotency_key_reused' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('who would rather come back is told where, unless the answer is there or the refusal is', async t => {
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

t.test('what could not be told from an older answer by its id is not promised for later', async t => {
  const asyncly = { respondAsync: true, waitMs: 5 }
  for (const cache of [noCache, noStore]) {
    const one = world()
    held(one)
    one.cache.set(KEY, kept('old', one.state.now - 30_000))
    await t.rejects(segment(request({ cache, prefer: asyncly }), one.parts), { code: 'upstream_slow' })
  }
  const older = world()
  held(older)
  older.cache.set(KEY, kept('old', older.state.now - 30_000))
  const atMost = request({ cache: { ...NO_DIRECTIVES, maxAgeSeconds: 1 }, prefer: asyncly })
  t.match(await segment(atMost, older.parts), { how: 'stale' })
  const past = world()
  held(past)
  past.cache.set(KEY, kept('old', past.state.now - 120_000))
  t.match(await segment(request({ prefer: { respondAsync: true, waitMs: 5 } }), past.parts), { how: 'accepted' })
})

t.test('Prefer: wait shortens the patience and never lengthens it', async t => {
  const one = world({ patienceMs: 20 })
  const calls = held(one)
  await t.rejects(one.ask(request({ prefer: { respondAsync: false, waitMs: 3_600_000 } })), { code: 'upstream_slow' })
  await t.rejects(one.ask(request({ prefer: { respondAsync: false, waitMs: 0 } })), { code: 'upstream_slow' })
  calls.open()
  t.match(await answered(segment(request(), one.parts)), { how: /coalesced|hit/ })
})
