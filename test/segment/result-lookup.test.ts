import t from 'tap'
import type { GatewayError } from '../../src/errors.js'
import { segment } from '../../src/segment/pipeline.js'
import { lookUpResult } from '../../src/segment/result-lookup.js'
import { failure, held, KEY, kept, request, settled, shop, world } from '../support/pipeline-world.js'
import { aCaller } from '../support/team.js'

const caller = aCaller()

t.test('a result that is there is answered, one that has expired is not', async t => {
  const one = world()
  one.cache.set(KEY, kept('mask', one.state.now - 99_000))
  t.match(await lookUpResult(KEY, caller, one.parts), { how: 'hit' })
  one.state.now += 1_000
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'unknown_result' })
  await t.rejects(lookUpResult('0'.repeat(64), caller, one.parts), { code: 'unknown_result' })
})

t.test('one on its way is running, here and in another process', async t => {
  const shared = shop()
  const [one, other] = [world({}, shared), world({}, shared)]
  const calls = held(one)
  const asked = one.ask()
  await settled()
  t.same(await lookUpResult(KEY, caller, one.parts), { how: 'running' })
  t.same(await lookUpResult(KEY, caller, other.parts), { how: 'running' })
  calls.open()
  await asked
  t.match(await lookUpResult(KEY, caller, other.parts), { how: 'hit' })
  t.equal(one.state.calls + other.state.calls, 1)
})

t.test('what a purchase failed with is told, or an answer past its time', async t => {
  const one = world()
  one.upstream.segment = async () => failure('upstream_failed', 'yes', { cost: 1700 })
  await t.rejects(one.ask(), { code: 'upstream_failed' })
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'upstream_failed', billed: 'no' })
  one.cache.set(KEY, kept('old', one.state.now - 120_000))
  t.match(await lookUpResult(KEY, caller, one.parts), { how: 'stale' })
})

t.test('under CACHE_SCOPE=team another team finds nothing under an id it has heard of', async t => {
  const one = world({ cacheScope: 'team' })
  const calls = held(one)
  const asked = one.ask()
  await settled()
  const [name = ''] = [...one.leases.names.keys()]
  calls.open()
  await asked
  t.match(await lookUpResult(name, caller, one.parts), { how: 'hit' })
  await t.rejects(lookUpResult(name, aCaller({ id: 'other' }), one.parts), { code: 'unknown_result' })
})

t.test('a leader that has died is not running for ever', async t => {
  const shared = shop()
  const one = world({}, shared)
  const note = JSON.stringify({ callId: 'dead', at: 1, team: 'vision', scope: '' })
  shared.leases.names.set(KEY, { token: 'dead', beat: 3, note })
  t.same(await lookUpResult(KEY, caller, one.parts), { how: 'running' })
  let state: unknown = { how: 'running' }
  while ((state as { how?: string }).how === 'running') {
    await settled()
    state = await lookUpResult(KEY, caller, one.parts).catch((error: GatewayError) => error)
  }
  t.match(state, { code: 'unknown_result' })
})

t.test('a store that does not answer is not the same as no result', async t => {
  const one = world()
  one.state.isStoreDown = true
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'store_unavailable', retryAfterSeconds: 5 })
})

t.test('an Idempotency-Key that the question is asked with is no id of a result', async t => {
  const one = world()
  const cache = { noCache: false, noStore: true, onlyIfCached: false }
  await segment(request({ cache, idempotencyKey: 'k' }), one.parts)
  t.equal(one.cache.size, 1)
  for (const name of one.cache.keys()) t.notMatch(name, /^[0-9a-f]{64}$/)
})
