import sharp from 'sharp'
import t, { type Test } from 'tap'
import { smallJpeg } from '../fixtures/odd-images.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

/** 60 × 40: a box with a hole, a slope, and a single pixel. */
const SIZE = { width: 60, height: 40 }
const AREA = 20 * 20 - 6 * 6 + (16 * 17) / 2 + 1
const isSelected = (x: number, y: number) =>
  (x >= 5 && x < 25 && y >= 10 && y < 30 && !(x >= 10 && x < 16 && y >= 15 && y < 21)) ||
  (x >= 30 && x < 46 && y >= 10 && y - 10 < 16 && x - 30 <= y - 10) ||
  (x === 58 && y === 2)

async function maskOf(scale = 1): Promise<Buffer> {
  const { width, height } = SIZE
  const grey = Buffer.from(
    Array.from({ length: width * height }, (_, at) => (isSelected(at % width, Math.floor(at / width)) ? 255 : 0)),
  )
  return sharp(grey, { raw: { ...SIZE, channels: 1 } })
    .resize(width * scale, height * scale, { kernel: 'nearest' })
    .png()
    .toBuffer()
}

const photo = await smallJpeg(SIZE.width, SIZE.height)

async function start(t: Test, mask: Buffer): Promise<TestGateway> {
  const gateway = await startTestGateway({ teams: { vision: {}, poor: { budget: { daily: 0 } } } })
  t.teardown(gateway.stop)
  gateway.upstream.script(() => ({ body: mask }))
  return gateway
}

async function read(answer: Response) {
  const { headers } = answer
  return {
    status: answer.status,
    cache: headers.get('x-cache'),
    id: headers.get('x-result-id') ?? '',
    etag: headers.get('etag'),
    type: headers.get('content-type'),
    bbox: headers.get('x-mask-bbox'),
    area: headers.get('x-mask-area'),
    text: await answer.text(),
  }
}

const ALL = ['polygon', 'geojson', 'yolo', 'rle', 'cutout', 'mask']

t.test('one bought mask gives every form', async t => {
  const gateway = await start(t, await maskOf())
  const segment = async (fields: Record<string, string>) =>
    read(await gateway.segment({ prompt: 'dog', ...fields }, { image: photo }))
  const first = await segment({ output: 'polygon' })
  t.match(first, { status: 200, cache: 'MISS', type: /^application\/json/, bbox: '5,2,54,28', area: String(AREA) })
  const { polygons, ...facts } = JSON.parse(first.text)
  t.strictSame(facts, { ...SIZE, bbox: [5, 2, 54, 28], area: AREA })
  t.equal(polygons.length, 3)

  const found = new Map<string, string>()
  for (const output of ALL) {
    const answer = await segment({ output })
    t.match(answer, { status: 200, cache: 'HIT', bbox: first.bbox, area: first.area }, output)
    found.set(output, answer.text)
    const again = await read(await gateway.fetch(`/results/${answer.id}`))
    t.strictSame([again.status, again.etag, again.type], [200, answer.etag, answer.type], `${output} has its own id`)
    const known = { headers: { 'if-none-match': answer.etag ?? '' } }
    t.equal((await gateway.fetch(`/results/${answer.id}`, known)).status, 304)
  }
  t.equal(found.get('polygon'), first.text)
  t.strictSame(JSON.parse(found.get('geojson') ?? '').properties.area, AREA)
  t.match(found.get('yolo'), /^(0( (0|1|0\.\d{1,6})){6,}\n){3}$/)
  t.equal((await segment({ output: 'yolo' })).type, 'text/plain; charset=utf-8')
  t.equal((await segment({ output: 'geojson' })).type, 'application/geo+json')

  const items = (await batchLines(gateway, ALL)).map(({ mask: _, ...item }) => item as Record<string, unknown>)
  for (const [at, output] of ALL.slice(0, 3).entries()) {
    const form = items[at]?.[output]
    t.strictSame(output === 'yolo' ? form : JSON.stringify(form), found.get(output), `${output} in a batch`)
  }
  t.ok(items.every(({ status, cache, costCredits }) => status === 200 && cache === 'hit' && costCredits === 0))
  t.equal(gateway.upstream.calls.length, 1, 'all of it was one purchase')
})

async function batchLines(gateway: TestGateway, outputs: string[], more: object = {}) {
  const selections = outputs.map(output => ({ prompt: 'dog', output }))
  const body = JSON.stringify({ image: photo.toString('base64'), selections, ...more })
  const headers = { 'content-type': 'application/json', accept: 'application/x-ndjson' }
  const answer = await gateway.fetch('/segment/batch', { method: 'POST', headers, body })
  const lines = (await answer.text()).trim().split('\n')
  const items = lines.map(line => JSON.parse(line) as Record<string, unknown> & { index: number })
  return items.sort((a, b) => a.index - b.index)
}

t.test('simplify is part of the form, in canonical manner', async t => {
  const gateway = await start(t, await maskOf())
  const segment = async (fields: Record<string, string>) =>
    read(await gateway.segment({ prompt: 'dog', output: 'polygon', ...fields }, { image: photo }))
  const standard = await segment({})
  for (const simplify of ['1', '1.0', ' 1.00 ', '']) t.match(await segment({ simplify }), { id: standard.id })
  const exact = await segment({ simplify: '0' })
  t.not(exact.id, standard.id)
  const corners = ({ text }: { text: string }) => JSON.parse(text).polygons[2].exterior.length
  t.equal(corners(exact), 2 * 16 + 2)
  t.ok(corners(standard) < 8)

  // Any other tolerance is made of the mask, whose id it has.
  const fine = await segment({ simplify: '0.75' })
  t.equal(fine.id, (await segment({ output: 'mask' })).id)
  const path = `/results/${fine.id}?output=polygon&simplify=0.75`
  t.match(await read(await gateway.fetch(path)), { status: 200, etag: fine.etag, text: fine.text })
  t.equal((await gateway.fetch(path, { headers: { 'if-none-match': fine.etag ?? '' } })).status, 304)

  const items = await batchLines(gateway, ['polygon', 'rle', 'yolo'], { simplify: 0, output: 'mask' })
  t.equal(JSON.stringify(items[0]?.polygon), exact.text, 'the simplify of a batch is the default of its outlines')
  t.match(items[1], { status: 200, rle: {} }, 'and nothing to others')
  t.equal(gateway.upstream.calls.length, 1)
  const selections = [{ prompt: 'dog', output: 'polygon' }, { prompt: 'dog' }]
  const mixed = await batchLines(gateway, [], { simplify: 0, selections })
  t.match(mixed, [{ status: 200, polygon: {} }, { status: 200 }], 'nor to one without an output')
})

t.test('a simplify without an outline is refused before anything is bought', async t => {
  const gateway = await start(t, await maskOf())
  for (const fields of [{ simplify: '2' }, { output: 'rle', simplify: '2' }, { output: 'polygon', simplify: '-1' }]) {
    for (const path of ['/segment', '/segment/quote']) {
      const body = JSON.stringify({ image: photo.toString('base64'), prompt: 'dog', ...fields })
      const answer = await gateway.fetch(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      t.equal(answer.status, 400)
      t.match(await answer.json(), { code: 'invalid_parameter', detail: /^simplify / })
    }
  }
  const { 0: item } = await batchLines(gateway, ['rle'], { selections: [{ prompt: 'a', output: 'rle', simplify: 1 }] })
  t.match(item, { status: 400, problem: { code: 'invalid_parameter', detail: /^simplify / } })
  t.equal(gateway.upstream.calls.length, 0)
})

t.test('an outline is quoted like its mask', async t => {
  const gateway = await start(t, await maskOf())
  const quote = async (output: string) => {
    const body = JSON.stringify({ image: photo.toString('base64'), prompt: 'dog', output })
    const headers = { 'content-type': 'application/json' }
    return (await gateway.fetch('/segment/quote', { method: 'POST', headers, body })).json() as Promise<object>
  }
  t.match(await quote('yolo'), { wouldBe: 'miss' })
  await gateway.segment({ prompt: 'dog', output: 'mask' }, { image: photo })
  for (const output of ALL) t.match(await quote(output), { wouldBe: 'hit', costCredits: 0 })
})

t.test("outlines are in the photo's pixels, whatever the size of the mask", async t => {
  const gateway = await start(t, await maskOf(3))
  const fields = { prompt: 'dog', output: 'polygon', simplify: '0' }
  const answer = await read(await gateway.segment(fields, { image: photo }))
  t.match(JSON.parse(answer.text), { ...SIZE, area: AREA, bbox: [5, 2, 54, 28] })
})

t.test('a mask that selects nothing has an empty outline, which is kept', async t => {
  const black = { create: { ...SIZE, channels: 3 as const, background: '#000' } }
  const gateway = await start(t, await sharp(black).png().toBuffer())
  const segment = async (output: string) => read(await gateway.segment({ prompt: 'dog', output }, { image: photo }))
  for (const cache of ['MISS', 'HIT']) {
    t.match(await segment('yolo'), { status: 200, cache, text: '', bbox: '0,0,0,0', area: '0' })
  }
  t.match(JSON.parse((await segment('polygon')).text), { area: 0, polygons: [] })
  t.match(JSON.parse((await segment('geojson')).text), { geometry: { type: 'MultiPolygon', coordinates: [] } })
  t.equal((await batchLines(gateway, ['yolo']))[0]?.yolo, '')
  t.equal(gateway.upstream.calls.length, 1)
})

t.test('an outline that is asked for later is where the answer says', async t => {
  const gateway = await start(t, await maskOf())
  const gate = gateway.upstream.hold()
  const fields = { prompt: 'dog', output: 'polygon', simplify: '2.5' }
  const accepted = await gateway.segment(fields, { image: photo, headers: { prefer: 'respond-async, wait=0' } })
  t.equal(accepted.status, 202)
  const location = accepted.headers.get('location') ?? ''
  t.match(location, /\?output=polygon&simplify=2\.5$/)
  gate.open()
  const now = await read(await gateway.segment(fields, { image: photo }))
  t.equal((await read(await gateway.fetch(location))).text, now.text)
})
