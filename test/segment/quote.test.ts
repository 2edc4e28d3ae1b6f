import t from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { type QuoteParts, quote } from '../../src/segment/quote.js'
import { DIGEST, held, KEY, kept, NO_DIRECTIVES, request, world } from '../support/doubles/pipeline-world.js'
import { aTeam } from '../support/doubles/team.js'
import { eventually } from '../support/eventually.js'

const refusal = (code: 'budget_exhausted' | 'credits_exhausted' | 'credits_reserved' | 'overloaded') =>
  new GatewayError(code, 'not now', { retryAfterSeconds: 9 })

function shop(changes: Partial<QuoteParts> = {}) {
  const around = world()
  const parts: QuoteParts = {
    ...around.parts,
    estimate: () => 2000,
    wouldRefuse: async () => undefined,
    queue: async () => ({ depth: 0 }),
    ...changes,
  }
  return { ...around, parts }
}

/** The only steps a quote may take: none of them writes, reserves or pays. */
const HARMLESS = new Set(['check'])

const ROWS: [
  name: string,
  of: { age?: number; changes?: Partial<QuoteParts>; input?: Parameters<typeof request>[0] },
  expected: { wouldBe: string; cost: number; code?: string },
][] = [
  ['a cached result costs nothing', { age: 0 }, { wouldBe: 'hit', cost: 0 }],
  ['a miss costs the estimate', {}, { wouldBe: 'miss', cost: 2000 }],
  ['an expired result is bought again', { age: 120 }, { wouldBe: 'miss', cost: 2000 }],
  [
    'no-cache always buys',
    { age: 0, input: { cache: { ...NO_DIRECTIVES, noCache: true } } },
    { wouldBe: 'bypass', cost: 2000 },
  ],
  [
    'max-age requires a newer result',
    { age: 50, input: { cache: { ...NO_DIRECTIVES, maxAgeSeconds: 10 } } },
    { wouldBe: 'miss', cost: 2000 },
  ],
  [
    'only-if-cached never buys',
    { input: { cache: { ...NO_DIRECTIVES, onlyIfCached: true } } },
    { wouldBe: 'miss', cost: 0, code: 'not_cached' },
  ],
  [
    'an unknown image id',
    { input: { image: { digest: DIGEST } } },
    { wouldBe: 'miss', cost: 0, code: 'unknown_image' },
  ],
  [
    'an exhausted budget',
    { changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'budget_exhausted' },
  ],
  [
    'an exhausted budget does not prevent a hit',
    { age: 0, changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'hit', cost: 0 },
  ],
  [
    'an exhausted budget with a stale result',
    { age: 120, changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'budget_exhausted' },
  ],
  [
    'an empty account with a stale result',
    { age: 120, changes: { wouldRefuse: async () => refusal('credits_exhausted') } },
    { wouldBe: 'stale', cost: 0 },
  ],
  [
    'an empty account with an expired result',
    { age: 200, changes: { wouldRefuse: async () => refusal('credits_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'credits_exhausted' },
  ],
  [
    'a full queue',
    { changes: { queue: async () => ({ depth: 9, refusal: refusal('overloaded') }) } },
    { wouldBe: 'miss', cost: 0, code: 'overloaded' },
  ],
]

for (const [name, { age, changes = {}, input = {} }, { code, ...expected }] of ROWS) {
  t.test(`a quote: ${name}`, async t => {
    const { parts, steps, cache, images, state } = shop(changes)
    if (age !== undefined) cache.set(KEY, kept('mask', state.now - age * 1000))
    const answer = await quote(request(input), parts)
    t.match(answer, { key: KEY, ...expected })
    t.equal(answer.refusal?.code, code)
    t.same(
      steps.filter(step => !HARMLESS.has(step)),
      [],
      'nothing is reserved, called, kept or counted',
    )
    t.equal(images.size, 0, 'the image is not kept')
    t.equal(parts.flights.leaderOf(KEY), undefined)
  })
}

t.test('a quote: circuit breaker open', async t => {
  const { parts } = shop()
  const down = new GatewayError('upstream_unavailable', 'no', { retryAfterSeconds: 5 })
  parts.upstream.admit = () => {
    throw down
  }
  t.equal((await quote(request(), parts)).refusal, down)
})

t.test('a quote: an invalid image is rejected', async t => {
  const unreadable = new GatewayError('image_unreadable', 'broken')
  const { parts } = shop({ checkImage: async () => Promise.reject(unreadable) })
  await t.rejects(quote(request(), parts), unreadable)
})

t.test('a quote: an identical purchase in flight is coalesced', async t => {
  const shopping = shop()
  const gate = held(shopping)
  const bought = shopping.ask()
  await eventually('the upstream was never called', () => shopping.state.calls > 0)
  t.match(await quote(request(), shopping.parts), { wouldBe: 'coalesced', cost: 0 })
  const other = request({ params: { prompt: 'another', overlayMask: true } })
  t.match(await quote(other, shopping.parts), { wouldBe: 'miss' })
  const alone = { ...shopping.parts, coalesce: false }
  t.match(await quote(request(), alone), { wouldBe: 'miss', cost: 2000 })
  gate.open()
  await bought
  t.match(await quote(request(), shopping.parts), { wouldBe: 'hit' })
})

t.test('a quote: an identical purchase in another process is coalesced', async t => {
  const one = world()
  const gate = held(one)
  const bought = one.ask()
  await eventually('the upstream was never called', () => one.state.calls > 0)
  const two = world({}, { cache: one.cache, leases: one.leases, calls: one.calls })
  const parts = {
    ...two.parts,
    estimate: () => 2000,
    wouldRefuse: async () => undefined,
    queue: async () => ({ depth: 0 }),
  }
  t.match(await quote(request({ caller: { team: aTeam({ id: 'labs' }), keyId: 'k2' } }), parts), {
    wouldBe: 'coalesced',
    cost: 0,
  })
  gate.open()
  await bought
})
