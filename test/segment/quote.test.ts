import t from 'tap'
import { GatewayError } from '../../src/errors.js'
import { type QuoteParts, quote } from '../../src/segment/quote.js'
import { DIGEST, held, KEY, kept, NO_DIRECTIVES, request, settled, world } from '../support/pipeline-world.js'
import { aTeam } from '../support/team.js'

const refusal = (code: 'budget_exhausted' | 'credits_exhausted' | 'credits_reserved' | 'overloaded') =>
  new GatewayError(code, 'not now', { retryAfterSeconds: 9 })

function shop(changes: Partial<QuoteParts> = {}) {
  const around = world()
  const parts: QuoteParts = {
    ...around.parts,
    estimate: () => 2000,
    wouldRefuse: async () => undefined,
    queue: () => ({ depth: 0 }),
    ...changes,
  }
  return { ...around, parts }
}

/** What may happen to answer a quote: nothing that is written, held or paid. */
const HARMLESS = new Set(['check'])

const ROWS: [
  name: string,
  of: { age?: number; changes?: Partial<QuoteParts>; asked?: Parameters<typeof request>[0] },
  expected: { wouldBe: string; cost: number; code?: string },
][] = [
  ['what is there costs nothing', { age: 0 }, { wouldBe: 'hit', cost: 0 }],
  ['what is not there costs what a call is expected to', {}, { wouldBe: 'miss', cost: 2000 }],
  ['past its time it is bought again', { age: 120 }, { wouldBe: 'miss', cost: 2000 }],
  [
    'no-cache buys in any case',
    { age: 0, asked: { cache: { ...NO_DIRECTIVES, noCache: true } } },
    { wouldBe: 'bypass', cost: 2000 },
  ],
  [
    'max-age wants a newer one',
    { age: 50, asked: { cache: { ...NO_DIRECTIVES, maxAgeSeconds: 10 } } },
    { wouldBe: 'miss', cost: 2000 },
  ],
  [
    'only-if-cached buys nothing',
    { asked: { cache: { ...NO_DIRECTIVES, onlyIfCached: true } } },
    { wouldBe: 'miss', cost: 0, code: 'not_cached' },
  ],
  [
    'an id without its image',
    { asked: { image: { digest: DIGEST } } },
    { wouldBe: 'miss', cost: 0, code: 'unknown_image' },
  ],
  [
    'a budget that is spent',
    { changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'budget_exhausted' },
  ],
  [
    'a budget that is spent does not keep from a hit',
    { age: 0, changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'hit', cost: 0 },
  ],
  [
    'a budget that is spent, and an answer past its time',
    { age: 120, changes: { wouldRefuse: async () => refusal('budget_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'budget_exhausted' },
  ],
  [
    'credits that are out, and an answer past its time',
    { age: 120, changes: { wouldRefuse: async () => refusal('credits_exhausted') } },
    { wouldBe: 'stale', cost: 0 },
  ],
  [
    'credits that are out, and one that is too old',
    { age: 200, changes: { wouldRefuse: async () => refusal('credits_exhausted') } },
    { wouldBe: 'miss', cost: 0, code: 'credits_exhausted' },
  ],
  [
    'a queue that is full',
    { changes: { queue: () => ({ depth: 9, refusal: refusal('overloaded') }) } },
    { wouldBe: 'miss', cost: 0, code: 'overloaded' },
  ],
]

for (const [name, { age, changes = {}, asked = {} }, { code, ...expected }] of ROWS) {
  t.test(`a quote: ${name}`, async t => {
    const { parts, steps, cache, images, state } = shop(changes)
    if (age !== undefined) cache.set(KEY, kept('mask', state.now - age * 1000))
    const answer = await quote(request(asked), parts)
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

t.test('a quote: Segmind that is not called now', async t => {
  const { parts } = shop()
  const down = new GatewayError('upstream_unavailable', 'no', { retryAfterSeconds: 5 })
  parts.upstream.admit = () => {
    throw down
  }
  t.equal((await quote(request(), parts)).refusal, down)
})

t.test('a quote: an image that would be refused is refused', async t => {
  const unreadable = new GatewayError('image_unreadable', 'broken')
  const { parts } = shop({ checkImage: async () => Promise.reject(unreadable) })
  await t.rejects(quote(request(), parts), unreadable)
})

t.test('a quote: an identical request that is buying it is shared, as long as it does', async t => {
  const shopping = shop()
  const gate = held(shopping)
  const bought = shopping.ask()
  while (shopping.state.calls === 0) await settled()
  t.match(await quote(request(), shopping.parts), { wouldBe: 'coalesced', cost: 0 })
  const other = request({ params: { prompt: 'another', overlayMask: true } })
  t.match(await quote(other, shopping.parts), { wouldBe: 'miss' })
  const alone = { ...shopping.parts, coalesce: false }
  t.match(await quote(request(), alone), { wouldBe: 'miss', cost: 2000 })
  gate.open()
  await bought
  t.match(await quote(request(), shopping.parts), { wouldBe: 'hit' })
})

t.test('a quote: so is one in another process', async t => {
  const one = world()
  const gate = held(one)
  const bought = one.ask()
  while (one.state.calls === 0) await settled()
  const two = world({}, { cache: one.cache, leases: one.leases, calls: one.calls })
  const parts = { ...two.parts, estimate: () => 2000, wouldRefuse: async () => undefined, queue: () => ({ depth: 0 }) }
  t.match(await quote(request({ caller: { team: aTeam({ id: 'labs' }), keyId: 'k2' } }), parts), {
    wouldBe: 'coalesced',
    cost: 0,
  })
  gate.open()
  await bought
})
