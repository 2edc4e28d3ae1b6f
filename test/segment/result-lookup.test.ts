import t from 'tap'
import { defined } from '../../src/contracts/defined.js'
import type { GatewayError } from '../../src/contracts/errors.js'
import { segment } from '../../src/segment/pipeline.js'
import type { EarlierCall } from '../../src/segment/ports.js'
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
  await t.rejects(lookUpResult(KEY, caller, one.parts), { code: 'upstream_failed', billed: 'yes' })
  const other = aCaller({ id: 'other' })
  await t.rejects(lookUpResult(KEY, other, one.parts), { code: 'upstream_failed', billed: 'no' }, 'not its bill')
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

t.test("the ledger decides how a dead leader's purchase is reported", async t => {
  const call = (state: EarlierCall['state'], jobId?: string): EarlierCall => ({
    state,
    at: 1,
    team: 'vision',
    cacheKey: KEY,
    ...defined({ jobId }),
    reservation: {} as EarlierCall['reservation'],
  })
  const rows: [what: string, call: EarlierCall | undefined, found: object, ofOthers?: object][] = [
    ['nothing was reserved', undefined, { code: 'unknown_result' }],
    ['it may have been billed', call('reserved'), { code: 'upstream_failed', billed: 'unknown' }, { billed: 'no' }],
    ['it may have been billed', call('unknown'), { code: 'upstream_failed', billed: 'unknown' }, { billed: 'no' }],
    ['it was billed', call('charged'), { code: 'upstream_failed', billed: 'yes' }, { billed: 'no' }],
    ['its job will be polled', call('reserved', 'job'), { how: 'running' }],
  ]
  for (const [what, entry, expected, ofOthers = expected] of rows)
    for (const isOlder of [false, true]) {
      const shared = sharedState()
      const one = world({}, shared)
      const dead = { callId: 'dead', at: 1, team: 'vision', scope: '' }
      // The second leader died before it planned a call.
      const note = JSON.stringify(isOlder ? { ...dead, callId: 'second', earlier: dead } : dead)
      shared.leases.names.set(KEY, { token: 'dead', heartbeat: 3, note })
      if (entry) shared.calls.set('dead', entry)
      t.same(await lookUpResult(KEY, caller, one.parts), { how: 'running' })
      const look = (by = caller) => lookUpResult(KEY, by, one.parts).catch((error: GatewayError) => error)
      await eventually('the leader never died', async () => (await one.parts.leases.look(KEY))?.isDead)
      t.match(await look(), expected, what)
      t.match(await look(aCaller({ id: 'other' })), ofOthers, what)
    }
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
