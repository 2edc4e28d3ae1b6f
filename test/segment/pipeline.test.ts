import t from 'tap'
import type { Coalescer } from '../../src/cache/coalescer.js'
import { GatewayError } from '../../src/contracts/errors.js'
import type { CacheKey, ImageBytes } from '../../src/contracts/types.js'
import type { SegmentRequest } from '../../src/segment/keyed-request.js'
import { PaidFailures } from '../../src/segment/paid-failures.js'
import { segment } from '../../src/segment/pipeline.js'
import type { FlightLeader, Purchase } from '../../src/segment/ports.js'
import { Story } from '../../src/segment/story.js'
import {
  answered,
  DIGEST,
  failure,
  gate,
  KEY,
  kept,
  NO_DIRECTIVES,
  request,
  settled,
  world,
} from '../support/doubles/pipeline-world.js'
import { aCaller } from '../support/doubles/team.js'

t.test('a miss is checked, reserved, queued, called, settled and kept, in this order', async t => {
  const { ask, steps, cache } = world()
  const answer = await ask()
  t.same(steps, ['check', 'reserve', 'slot', 'call', 'done', 'keep', 'settle 1700', 'vision miss 1700'])
  t.match(answer, { how: 'miss', key: KEY, charged: 1700, stored: true, timing: { queueMs: 3 } })
  t.match(cache.get(KEY), { body: Buffer.from('mask'), cost: 1700, storedAt: 1_000_000 })
})

t.test('the second identical request is a free hit without a call', async t => {
  const { ask, steps } = world()
  await ask()
  steps.length = 0
  const answer = await ask()
  t.match(answer, { how: 'hit', charged: 0, stored: true })
  t.same(steps, ['vision hit 1700'])
})

t.test('only the image of a first hit may be released', async t => {
  const { parts } = world()
  const ask = async (): Promise<boolean> => {
    const { image } = request()
    const uploaded = { ...(image.uploaded as ImageBytes), release: () => {} }
    await segment(request({ image: { ...image, uploaded } }), parts)
    return 'release' in uploaded
  }
  t.equal(await ask(), false, 'a miss: the purchase may outlive the request')
  t.equal(await ask(), true, 'a hit')
})

t.test('a hundred identical concurrent requests cost one call', async t => {
  const { ask, state, upstream } = world()
  const held = gate()
  const plain = upstream.segment
  upstream.segment = async () => {
    await held.promise
    return plain()
  }
  const pending = Array.from({ length: 100 }, () => ask())
  await settled()
  held.open()
  const answers = await Promise.all(pending)
  t.equal(state.calls, 1)
  t.equal(answers.filter(({ how }) => how === 'miss').length, 1)
  t.equal(answers.filter(({ how, charged }) => how === 'coalesced' && charged === 0).length, 99)
  t.ok(
    answers.every(({ timing }) => timing.upstreamMs > 0),
    "a follower's wait counts as upstream time",
  )
})

t.test('a request that missed before the purchase ended looks again instead of paying', async t => {
  const { parts, state, cache } = world()
  const late = gate()
  const find = parts.results.find
  let looks = 0
  parts.results.find = async (key, isWanted) => {
    const known = await find(key, isWanted)
    looks++
    if (looks === 1) await late.promise
    return known
  }
  const slow = answered(segment(request(), parts))
  const quick = await answered(segment(request(), parts))
  t.equal(quick.how, 'miss')
  t.ok(cache.has(KEY))
  late.open()
  t.match(await slow, { how: 'hit', charged: 0 })
  t.equal(state.calls, 1)
})

t.test('a failure specific to the leader does not fail its followers: they try again', async t => {
  for (const code of ['budget_exhausted', 'store_unavailable', 'overloaded'] as const) {
    const { parts, state } = world()
    const held = gate()
    const reserve = parts.ledger.reserve
    parts.ledger.reserve = async call => {
      if (call.caller.team.id !== 'poor') return reserve(call)
      await held.promise
      throw new GatewayError(code, 'own')
    }
    const leader = segment(request({ caller: aCaller({ id: 'poor' }) }), parts)
    const followers = [1, 2, 3].map(() => segment(request(), parts))
    await settled()
    held.open()
    await t.rejects(leader, { code })
    const hows = (await Promise.all(followers)).map(({ how }) => how).sort()
    t.same(hows, ['coalesced', 'coalesced', 'miss'], code)
    t.equal(state.calls, 1)
  }
})

t.test('a leader without image bytes does not fail a follower that uploaded them', async t => {
  const { parts, state } = world()
  const held = gate()
  parts.images.find = async () => {
    await held.promise
    return undefined
  }
  const byId = segment(request({ image: { digest: DIGEST } }), parts)
  await settled()
  const withBytes = segment(request(), parts)
  held.open()
  await t.rejects(byId, { code: 'unknown_image' })
  t.match(await withBytes, { how: 'miss' })
  t.equal(state.calls, 1)
})

t.test('a promised result arrives although the followed flight fails for a reason of its leader', async t => {
  const { parts, state, cache } = world()
  const looking = gate()
  parts.images.find = async () => {
    await looking.promise
    return undefined
  }
  const prefer = { respondAsync: true, waitMs: 0 }
  const byId = segment(request({ image: { digest: DIGEST }, prefer }), parts)
  t.match(await byId, { how: 'accepted' })
  const holding: Promise<unknown>[] = []
  const withBytes = request({ prefer, holdUntil: work => void holding.push(work) })
  t.match(await segment(withBytes, parts), { how: 'accepted' })
  t.equal(state.calls, 0)
  t.ok(holding.length > 0, 'the bytes are held after the caller left')
  looking.open()
  await (parts.flights as Coalescer<Purchase, FlightLeader>).idle()
  t.equal(state.calls, 1, "bought with the second caller's bytes")
  t.ok(cache.has(KEY))
  await Promise.all(holding)
})

t.test('one background purchase per team holds the bytes for all callers that left', async t => {
  const { parts, upstream } = world()
  const calling = gate()
  const answer = upstream.segment
  upstream.segment = async () => {
    await calling.promise
    return answer()
  }
  let holds = 0
  const prefer = { respondAsync: true, waitMs: 0 }
  const ask = (team: string) =>
    segment(request({ prefer, holdUntil: () => void holds++, caller: aCaller({ id: team }) }), parts)
  t.match(await ask('vision'), { how: 'accepted' })
  const held = holds
  for (let times = 0; times < 10; times++) t.match(await ask('vision'), { how: 'accepted' })
  t.equal(holds, held, 'ten further callers hold no bytes')
  t.match(await ask('labs'), { how: 'accepted' })
  t.equal(holds, held + 1)
  t.equal(parts.backgroundPurchases.size, 2)
  calling.open()
  await (parts.flights as Coalescer<Purchase, FlightLeader>).idle()
  await settled()
  t.equal(parts.backgroundPurchases.size, 0, 'ended purchases are forgotten')
})

t.test('a later caller extends the background purchase; one with bytes does not rely on one without', async t => {
  const { parts } = world()
  const looking = gate()
  parts.images.find = async () => {
    await looking.promise
    return undefined
  }
  const prefer = { respondAsync: true, waitMs: 0 }
  const standing = () => [...parts.backgroundPurchases.values()][0]
  const story = new Story()
  t.match(await segment(request({ image: { digest: DIGEST }, prefer }), parts), { how: 'accepted' })
  t.match(standing(), { hasBytes: false })
  t.match(await segment(request({ prefer, story }), parts), { how: 'accepted' })
  t.match(standing(), { hasBytes: true })
  t.ok(story.work, 'the story is completed when the purchase ends')
  const { deadline = 0 } = standing() ?? {}
  t.match(await segment(request({ prefer }), parts), { how: 'accepted' })
  t.ok((standing()?.deadline ?? 0) > deadline)
  looking.open()
  await (parts.flights as Coalescer<Purchase, FlightLeader>).idle()
})

t.test('a background purchase that fails is not an unhandled rejection', async t => {
  const { parts, upstream } = world()
  const calling = gate()
  upstream.segment = async () => {
    await calling.promise
    return failure('upstream_rejected', 'no')
  }
  const prefer = { respondAsync: true, waitMs: 0 }
  for (let times = 0; times < 2; times++) t.match(await segment(request({ prefer }), parts), { how: 'accepted' })
  calling.open()
  await (parts.flights as Coalescer<Purchase, FlightLeader>).idle()
  t.equal(parts.flights.leaderOf(KEY), undefined)
})

t.test("a failure of the leader's team fails followers of the same team at once", async t => {
  const { parts } = world()
  const held = gate()
  let reserved = 0
  parts.ledger.reserve = async () => {
    reserved++
    await held.promise
    throw new GatewayError('budget_exhausted', 'spent')
  }
  const pending = Array.from({ length: 50 }, () => segment(request(), parts))
  await settled()
  held.open()
  for (const one of pending) await t.rejects(one, { code: 'budget_exhausted' })
  t.equal(reserved, 1)
})

t.test('a billed failure is charged to the leader only; a stale answer reports the charge', async t => {
  const { ask, upstream, cache, state } = world()
  const held = gate()
  upstream.segment = async () => {
    await held.promise
    return failure('upstream_failed', 'yes', { cost: 1700 })
  }
  const [leader, follower] = [ask(), ask()]
  await settled()
  held.open()
  await t.rejects(leader, { code: 'upstream_failed', billed: 'yes' })
  await t.rejects(follower, { code: 'upstream_failed', billed: 'no' })
  cache.set(KEY, kept('old', state.now - 110_000))
  t.match(await ask(), { how: 'stale', charged: 0 }, 'it is not bought again at once')
  state.now += 30_000
  t.match(await ask(), { how: 'stale', charged: 1700 })
})

t.test('a purchase that was paid and gave no picture is not repeated before a growing pause is over', async t => {
  const { ask, upstream, state } = world()
  const plain = upstream.segment
  upstream.segment = async () => failure('upstream_failed', 'yes', { cost: 1700 })
  for (const [times, pauseMs] of [30_000, 60_000, 120_000].entries()) {
    await t.rejects(ask(), { code: 'upstream_failed', billed: 'yes' })
    const retryAfterSeconds = pauseMs / 1_000
    await t.rejects(ask(), { code: 'upstream_failed', billed: 'no', retryAfterSeconds })
    state.now += pauseMs - 1
    await t.rejects(ask(), { code: 'upstream_failed', billed: 'no', retryAfterSeconds: 1 })
    state.now++
    t.equal(state.calls, times + 1)
  }
  t.match(await ask(request({ params: { prompt: 'another', overlayMask: true } })).catch(error => error), {
    billed: 'yes',
  })
  const noCache = request({ cache: { ...NO_DIRECTIVES, noCache: true } })
  await t.rejects(ask(noCache), { code: 'upstream_failed', billed: 'yes' }, 'no-cache asks for it')
  t.equal(state.calls, 5)
  state.now += 3_600_000
  upstream.segment = plain
  t.match(await ask(), { how: 'miss' })
})

t.test('only the latest thousand paid failures are remembered', async t => {
  const failures = new PaidFailures(() => 0)
  const keys = Array.from({ length: 1_001 }, (_, index) => `key ${index}` as CacheKey)
  for (const key of keys) failures.failed(key)
  t.doesNotThrow(() => failures.admit(keys[0] as CacheKey))
  for (const key of keys.slice(1)) t.throws(() => failures.admit(key), { code: 'upstream_failed' })
  failures.succeeded(keys[1] as CacheKey)
  t.doesNotThrow(() => failures.admit(keys[1] as CacheKey))
})

t.test('a call whose budget no longer covers the price when its slot is granted is not made', async t => {
  const { ask, parts, steps, state } = world()
  const { reserve } = parts.ledger
  parts.ledger.reserve = async call => ({
    ...(await reserve(call)),
    recheck: async () => {
      throw new GatewayError('budget_exhausted', 'the price has risen')
    },
  })
  await t.rejects(ask(), { code: 'budget_exhausted' })
  t.same(steps, ['check', 'reserve', 'slot', 'unused'], 'the slot is returned')
  t.equal(state.calls, 0)
})

t.test('a call that throws returns its slot and stays booked as unknown', async t => {
  for (const thrown of ['at once', 'later']) {
    const { ask, parts, steps } = world()
    parts.upstream.segment = () => {
      if (thrown === 'at once') throw new TypeError('a bug')
      return Promise.reject(new TypeError('a bug'))
    }
    await t.rejects(ask(), TypeError)
    t.same(steps, ['check', 'reserve', 'slot', 'unknown', 'done'], thrown)
  }
})

t.test('a plain request follows a no-cache purchase in flight; the image is held until it ends', async t => {
  const { ask, upstream, state } = world()
  const held = gate()
  const plain = upstream.segment
  upstream.segment = async () => {
    await held.promise
    return plain()
  }
  const works: Promise<unknown>[] = []
  const holdUntil = (work: Promise<unknown>) => void works.push(work)
  const forced = ask(request({ cache: { ...NO_DIRECTIVES, noCache: true }, holdUntil }))
  await settled()
  const follower = ask(request({ holdUntil }))
  await settled()
  t.equal(works.length, 1, 'only the leader holds its bytes')
  held.open()
  t.match(await forced, { how: 'bypass', charged: 1700 })
  t.match(await follower, { how: 'coalesced', charged: 0 })
  t.equal(state.calls, 1)
})

t.test('a rejected input is shared with the followers', async t => {
  const { ask, upstream, state } = world()
  upstream.segment = async () => failure('upstream_rejected', 'no')
  const pending = [1, 2, 3].map(() => ask())
  for (const one of pending) await t.rejects(one, { code: 'upstream_rejected' })
  t.equal(state.calls, 1)
})

t.test('a failed call is released, settled or unknown, depending on its known bill', async t => {
  const rows: ['no' | 'yes' | 'unknown', string][] = [
    ['no', 'release'],
    ['yes', 'settle 1700'],
    ['unknown', 'unknown'],
  ]
  for (const [billed, booked] of rows) {
    const { ask, steps, upstream } = world()
    upstream.segment = async () => failure('upstream_failed', billed, { cost: 1700 })
    await t.rejects(ask(), { code: 'upstream_failed', billed })
    t.same(steps, ['check', 'reserve', 'slot', 'call', 'done', booked])
  }
})

t.test('the reservation is released when there is no slot', async t => {
  const { ask, steps, parts } = world()
  parts.slots.acquire = async () => {
    throw new GatewayError('overloaded', 'full')
  }
  await t.rejects(ask(), { code: 'overloaded' })
  t.same(steps, ['check', 'reserve', 'release'])
})

t.test('an invalid image reserves nothing', async t => {
  const { ask, steps, parts, images } = world()
  parts.checkImage = async () => {
    throw new GatewayError('image_unreadable', 'cut')
  }
  await t.rejects(ask(), { code: 'image_unreadable' })
  t.same(steps, [])
  t.equal(images.size, 0, 'and the image is not kept')
})

t.test('a caller that times out gets upstream_slow, and the purchase continues into the cache', async t => {
  const held = gate()
  const { ask, upstream, state, parts } = world({ clientTimeoutMs: 5 })
  const plain = upstream.segment
  upstream.segment = async () => {
    await held.promise
    return plain()
  }
  const [leader, follower] = [ask(), ask()]
  await Promise.all([
    t.rejects(leader, { code: 'upstream_slow', billed: 'unknown', retryAfterSeconds: 5 }),
    t.rejects(follower, { code: 'upstream_slow' }),
  ])
  held.open()
  await (parts.flights as Coalescer<Purchase, FlightLeader>).idle()
  t.match(await ask(), { how: 'hit', charged: 0 })
  t.equal(state.calls, 1)
})

t.test('Cache-Control directives decide about lookup and storage', async t => {
  const rows: [name: string, cache: Partial<SegmentRequest['cache']>, how: string, calls: number, stored: boolean][] = [
    ['no-cache buys a new result and keeps it', { noCache: true }, 'bypass', 1, true],
    ['no-store buys a new result and keeps nothing', { noStore: true }, 'bypass', 1, false],
    ['max-age accepts a younger result', { maxAgeSeconds: 60 }, 'hit', 0, true],
    ['max-age rejects an older result', { maxAgeSeconds: 10 }, 'miss', 1, true],
    ['max-age=0 rejects every result', { maxAgeSeconds: 0 }, 'miss', 1, true],
    ['only-if-cached accepts a cached result', { onlyIfCached: true, noCache: true }, 'hit', 0, true],
  ]
  for (const [name, directives, how, calls, stored] of rows) {
    const { ask, state, cache, images, planned } = world()
    cache.set(KEY, kept('old', state.now - 30_000))
    const answer = await ask(request({ cache: { ...NO_DIRECTIVES, ...directives } }))
    t.match(answer, { how, stored }, name)
    t.equal(state.calls, calls, name)
    const purchase = stored ? 'no-cache' : 'no-store'
    t.match(planned, calls > 0 ? [{ purchase }] : [], `${name}: the ledger knows that the caller wanted it`)
    t.equal(
      cache.get(KEY)?.body.toString(),
      how === 'bypass' && stored ? 'mask' : how === 'miss' ? 'mask' : 'old',
      name,
    )
    t.equal(images.size, directives.noStore ? 0 : 1, name)
  }
})

t.test('only-if-cached spends nothing on a miss', async t => {
  const { ask, steps } = world()
  await t.rejects(ask(request({ cache: { ...NO_DIRECTIVES, onlyIfCached: true } })), { code: 'not_cached' })
  t.same(steps, [])
})

t.test('no-cache requests do not share a purchase; max-age=0 requests in flight do', async t => {
  const forced = world()
  await Promise.all([1, 2].map(() => forced.ask(request({ cache: { ...NO_DIRECTIVES, noCache: true } }))))
  t.equal(forced.state.calls, 2)
  const zero = world()
  const now = zero.parts.now
  zero.parts.now = () => now() + zero.state.calls * 1000
  await Promise.all([1, 2, 3].map(() => zero.ask(request({ cache: { ...NO_DIRECTIVES, maxAgeSeconds: 0 } }))))
  t.equal(zero.state.calls, 1)
})

t.test('a stale result is bought again, and served if that fails, until STALE_SECONDS have passed', async t => {
  const { ask, cache, state, upstream } = world()
  const old = kept('old', state.now - 120_000)
  cache.set(KEY, old)
  const plain = upstream.segment
  for (const code of [
    'upstream_failed',
    'upstream_timeout',
    'upstream_busy',
    'upstream_unavailable',
    'credits_exhausted',
  ] as const) {
    upstream.segment = async () => failure(code, 'no')
    t.match(await ask(), { how: 'stale', charged: 0, result: { etag: 'e' } }, code)
  }
  upstream.segment = async () => failure('upstream_rejected', 'no')
  await t.rejects(ask(), { code: 'upstream_rejected' }, 'the input itself was rejected')
  upstream.segment = plain
  t.match(await ask(), { how: 'miss' })
  cache.set(KEY, kept('older', state.now - 151_000))
  upstream.segment = async () => failure('upstream_failed', 'no')
  await t.rejects(ask(), { code: 'upstream_failed' })
})

t.test('an uploaded image can be named by id later, within its team under CACHE_SCOPE=team', async t => {
  const { ask, parts } = world({ cacheScope: 'team' })
  await ask()
  const byId = (team: string, prompt: string) =>
    segment(
      request({ caller: aCaller({ id: team }), image: { digest: DIGEST }, params: { prompt, overlayMask: true } }),
      parts,
    )
  t.match(await byId('vision', 'cup'), { how: 'hit' })
  t.match(await byId('vision', 'spoon'), { how: 'miss' })
  await t.rejects(byId('other', 'cup'), { code: 'unknown_image' })
})

t.test('an image uploaded with a hit is kept too', async t => {
  const { ask, cache, state, images } = world()
  cache.set(KEY, kept('old', state.now))
  await ask()
  t.equal(images.size, 1)
})
