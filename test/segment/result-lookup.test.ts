import t from 'tap'
import type { GatewayError } from '../../src/contracts/errors.js'
import { segment } from '../../src/segment/pipeline.js'
import { lookUpResult } from '../../src/segment/result-lookup.js'
import { failure, held, KEY, kept, request, settled, sharedState, world } from '../support/doubles/pipeline-world.js'
import { aCaller } from '../support/doubles/team.js'
import { eventually } from '../support/eventually.js'

const caller = aCaller()

t.test('a fresh result is found, an expired one is not', async t => {
  const one = world()
  one.cache.set(KEY, kept('mask', one.state.now - 99_000))
  t.match(await lookUpResult(KEY, caller, one.parts), { how: 'hit' })
  one.state.now += 1_000
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'unknown_result' })
  await t.rejects(lookUpResult('0'.repeat(64), caller, one.parts), { code: 'unknown_result' })
})

t.test('a purchase in flight is running, here and in another process', async t => {
  const shared = sharedState()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const pending = one.ask()
  await settled()
  t.same(await lookUpResult(KEY, caller, one.parts), { how: 'running' })
  t.same(await lookUpResult(KEY, caller, other.parts), { how: 'running' })
  calls.open()
  await pending
  t.match(await lookUpResult(KEY, caller, other.parts), { how: 'hit' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('a recent failure is reported, or a stale result served', async t => {
  const one = world()
  one.upstream.segment = async () => failure('upstream_failed', 'yes', { cost: 1700 })
  await t.rejects(one.ask(), { code: 'upstream_failed' })
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'upstream_failed', billed: 'no' })
  one.cache.set(KEY, kept('old', one.state.now - 120_000))
  t.match(await lookUpResult(KEY, caller, one.parts), { how: 'stale' })
})

t.test("under CACHE_SCOPE=team another team's result id is unknown", async t => {
  const one = world({ cacheScope: 'team' })
  const calls = held(one)
  const pending = one.ask()
  await settled()
  const [name = ''] = [...one.leases.names.keys()]
  calls.open()
  await pending
  t.match(await lookUpResult(name, caller, one.parts), { how: 'hit' })
  await t.rejects(lookUpResult(name, aCaller({ id: 'other' }), one.parts), { code: 'unknown_result' })
})

t.test("a dead leader's purchase stops counting as running", async t => {
  const shared = sharedState()
  const one = world({}, shared)
  const note = JSON.stringify({ callId: 'dead', at: 1, team: 'vision', scope: '' })
  shared.leases.names.set(KEY, { token: 'dead', heartbeat: 3, note })
  t.same(await lookUpResult(KEY, caller, one.parts), { how: 'running' })
  const state = await eventually('the flight never ended', async () => {
    const found = await lookUpResult(KEY, caller, one.parts).catch((error: GatewayError) => error)
    return 'how' in found && found.how === 'running' ? undefined : found
  })
  t.match(state, { code: 'unknown_result' })
})

t.test('an unreachable store is not reported as an unknown result', async t => {
  const one = world()
  one.state.isStoreDown = true
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'store_unavailable', retryAfterSeconds: 5 })
})

t.test('the name of an Idempotency-Key is not a result id', async t => {
  const one = world()
  const cache = { noCache: false, noStore: true, onlyIfCached: false }
  await segment(request({ cache, idempotencyKey: 'k' }), one.parts)
  t.equal(one.cache.size, 1)
  for (const name of one.cache.keys()) t.notMatch(name, /^[0-9a-f]{64}$/)
})
