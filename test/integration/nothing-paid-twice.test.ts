import { createHash } from 'node:crypto'
import t from 'tap'
import { otherJpeg } from '../fixtures/jpeg.js'
import { startTestGateway } from '../support/gateway/gateway.js'

t.test('100 identical concurrent requests cost one upstream call', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const held = gateway.upstream.hold()
  const pending = Array.from({ length: 100 }, () => gateway.segment({ prompt: 'the dog' }))
  await gateway.upstream.arrived(1)
  held.open()
  const answers = await Promise.all(pending)
  const bodies = await Promise.all(
    answers.map(async answer =>
      createHash('sha256')
        .update(Buffer.from(await answer.arrayBuffer()))
        .digest('hex'),
    ),
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  t.equal(new Set(bodies).size, 1)
  t.equal(gateway.upstream.calls.length, 1)
  t.equal(answers.filter(({ headers }) => headers.get('x-cost') !== '0').length, 1, 'one of them is charged')
})

t.test('equal requests in different forms and spellings are one purchase', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const image = await otherJpeg(1)
  const base64 = image.toString('base64')
  const id = `sha256:${createHash('sha256').update(image).digest('hex')}`
  const json = (body: object) =>
    gateway.fetch('/segment', {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    })
  const first = await gateway.segment({ coordinates: '[8, 4]' }, { image })
  t.equal(first.headers.get('x-cache'), 'MISS')
  t.equal(first.headers.get('x-image-id'), id)
  const again = [
    await gateway.segment({ coordinates: ' [[8.0,4e0]] ', overlay_mask: 'True', base64: 'false' }, { image }),
    await gateway.segment({ coordinates: '[[8,4]]', remove_coordinates: '[]', overlay_mask: 'yes' }, { image }),
    await json({ image: base64, coordinates: [8, 4] }),
    await json({ overlay_mask: true, coordinates: '[[8,4]]', image: `data:image/png;base64,${base64}`, prompt: null }),
    await json({ image: id, coordinates: [[8, 4]], base64: true }),
    await gateway.fetch('/segment', { method: 'POST', body: formOf({ coordinates: '[8,4]', image: base64 }) }),
    await gateway.fetch('/segment', {
      method: 'POST',
      body: formOf({ image: id.toUpperCase().replace('SHA', 'sha'), coordinates: '[8,4]' }),
    }),
  ]
  for (const answer of again) {
    t.equal(answer.headers.get('x-cache'), 'HIT', `status ${answer.status}`)
    t.equal(answer.headers.get('x-cost'), '0')
    t.equal(answer.headers.get('x-result-id'), first.headers.get('x-result-id'))
  }
  t.equal(gateway.upstream.calls.length, 1)
  const rendered = (await again[4]?.json()) as { image: string }
  t.same(
    Buffer.from(rendered.image, 'base64'),
    Buffer.from(await first.arrayBuffer()),
    'base64 changes the form of the response only',
  )
})

t.test('different pixels, prompts, points or overlay are separate purchases', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const image = await otherJpeg(1)
  const inputs: [Record<string, string>, Buffer][] = [
    [{ prompt: 'dog' }, image],
    [{ prompt: 'Dog' }, image],
    [{ prompt: 'dog', overlay_mask: 'false' }, image],
    [{ prompt: 'dog', remove_coordinates: '[1,1]' }, image],
    [{ coordinates: '[1,1]' }, image],
    [{ coordinates: '[[1,1],[2,2]]' }, image],
    [{ prompt: 'dog' }, await otherJpeg(2)],
  ]
  for (const [fields, photo] of inputs) {
    const answer = await gateway.segment(fields, { image: photo })
    t.equal(answer.headers.get('x-cache'), 'MISS', JSON.stringify(fields))
  }
  t.equal(gateway.upstream.calls.length, inputs.length)
})

t.test('with a prompt, coordinates are dropped and reported as ignored', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const plain = await gateway.segment({ prompt: 'dog' })
  t.equal(plain.headers.get('x-ignored-fields'), null)
  const both = await gateway.segment({ prompt: 'dog', coordinates: '[1,1]' })
  t.equal(both.headers.get('x-cache'), 'HIT')
  t.equal(both.headers.get('x-ignored-fields'), 'coordinates')
  t.equal(gateway.upstream.calls[0]?.fields.coordinates, undefined)
})

t.test(
  'a client that leaves does not cancel a paid call: it is booked, kept, and the next request is a hit',
  async t => {
    const gateway = await startTestGateway()
    t.teardown(gateway.stop)
    const held = gateway.upstream.hold()
    const leaving = new AbortController()
    const pending = gateway.segment({ prompt: 'dog' }, { signal: leaving.signal })
    await gateway.upstream.arrived(1)
    leaving.abort()
    await t.rejects(pending, { name: 'AbortError' })
    await gateway.logged(({ status }) => status === 499)
    held.open()
    const next = await gateway.segment({ prompt: 'dog' })
    t.match(next.headers.get('x-cache'), /HIT|COALESCED/)
    t.equal(gateway.upstream.calls.length, 1)
    const usage = (await (await gateway.fetch('/usage')).json()) as {
      totals: { paidCalls: number; chargedCredits: number }
    }
    t.match(usage.totals, { paidCalls: 1, chargedCredits: 0.0017 })
  },
)

t.test('under CACHE_SCOPE=team neither results nor images are shared between teams', async t => {
  const gateway = await startTestGateway({ env: { CACHE_SCOPE: 'team' }, teams: { red: {}, blue: {} } })
  t.teardown(gateway.stop)
  const first = await gateway.segment({ prompt: 'dog' }, { team: 'red' })
  const image = first.headers.get('x-image-id') ?? ''
  t.equal((await gateway.segment({ prompt: 'dog' }, { team: 'blue' })).headers.get('x-cache'), 'MISS')
  t.equal((await gateway.segment({ prompt: 'dog' }, { team: 'red' })).headers.get('x-cache'), 'HIT')
  const green = await startTestGateway({
    env: { CACHE_SCOPE: 'team' },
    teams: { red: {}, green: {} },
    upstream: gateway.upstream,
  })
  t.teardown(green.stop)
  await green.segment({ prompt: 'dog' }, { team: 'red' })
  const byId = await green.fetch('/segment', {
    method: 'POST',
    body: formOf({ image, prompt: 'cat' }),
    headers: { 'x-api-key': green.keys.green ?? '' },
  })
  t.match(await byId.json(), { code: 'unknown_image', status: 404 })
})

function formOf(fields: Record<string, string>): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return form
}
