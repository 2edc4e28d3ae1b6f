import { createHash } from 'node:crypto'
import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import type { Params, Point } from '../../src/contracts/types.js'
import type { ReceivedForm } from '../../src/input/form.js'
import { receiveJson } from '../../src/input/json.js'
import { receiveMultipart, type UploadPart } from '../../src/input/multipart.js'
import { parseParams } from '../../src/input/params.js'
import { cacheKey } from '../../src/segment/cache-key.js'

const limits = { maxImageBytes: 10_000 }
const image = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.from([...Array(256).keys()])])
const digest = createHash('sha256').update(image).digest('hex')

const coordinate = fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.double({ min: 0, max: 5000, noNaN: true }))
const points = fc.array(fc.tuple(coordinate, coordinate), { minLength: 1, maxLength: 5 })
const prompt = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  .map(text => text.replaceAll(/[\0\uFFFD]/g, '').trim())
  .filter(text => text !== '')
const extras = { removeCoordinates: fc.option(points, { nil: undefined }), overlayMask: fc.boolean() }
const arbitraryParams: fc.Arbitrary<Params> = fc
  .oneof(fc.record({ prompt, ...extras }), fc.record({ coordinates: points, ...extras }))
  .map(({ removeCoordinates, ...others }) => (removeCoordinates ? { ...others, removeCoordinates } : others))

/** Choices made while spelling a request: each takes the next number from a tape. */
type Choose = <T>(options: readonly [T, ...T[]]) => T
const tape: fc.Arbitrary<Choose> = fc.array(fc.nat(), { minLength: 200, maxLength: 200 }).map(numbers => {
  let at = 0
  return options => options[(numbers[at++ % numbers.length] ?? 0) % options.length] ?? options[0]
})

function writeNumber(value: number, choose: Choose): string {
  const plain = JSON.stringify(value)
  const exponential = value.toExponential()
  const longer = plain.includes('e') ? exponential : plain.includes('.') ? `${plain}00` : `${plain}.0`
  return choose([plain, exponential, exponential.replace('e', 'E'), longer, value === 0 ? '-0' : plain])
}

/** JSON text of points, a single one flat or in a list. */
function writePoints(list: readonly Point[], choose: Choose): string {
  const space = (): string => choose(['', ' ', '\n', '\t '])
  const pairs = list.map(
    ([x, y]) =>
      `${space()}[${space()}${writeNumber(x, choose)}${space()},${space()}${writeNumber(y, choose)}]${space()}`,
  )
  return pairs.length === 1 && choose([true, false]) ? (pairs[0] ?? '') : `[${pairs.join(',')}]`
}

type Written = { name: string; json: string; text: string }

/**
 * The fields of one meaning in one of its many spellings, each as a JSON member and as the text of
 * a form field.
 */
function writeFields(params: Params, choose: Choose): Written[] {
  const fields: Written[] = []
  const add = (name: string, text: string, json = JSON.stringify(text)): void => void fields.push({ name, json, text })
  const addPoints = (name: string, list: readonly Point[]): void => {
    const text = writePoints(list, choose)
    add(name, text, choose([text, JSON.stringify(text)]))
  }
  const addBoolean = (name: string, value: boolean): void => {
    const words = value
      ? (['true', 'True', '1', 'yes', 'ON'] as const)
      : (['false', 'FALSE', '0', 'no', 'off'] as const)
    const word = choose(words)
    add(name, word, choose([String(value), JSON.stringify(word), value ? '1' : '0']))
  }
  if (params.prompt !== undefined) {
    add('prompt', choose(['', ' ', '\n']) + params.prompt + choose(['', ' ', '\t']))
    if (choose([true, false])) addPoints('coordinates', [[1, 2]])
  }
  if (params.coordinates) addPoints('coordinates', params.coordinates)
  if (params.removeCoordinates) addPoints('remove_coordinates', params.removeCoordinates)
  else if (choose([true, false])) add('remove_coordinates', choose(['', '[]']), choose(['null', '[]', '""']))
  if (!params.overlayMask || choose([true, false])) addBoolean('overlay_mask', params.overlayMask)
  if (choose([true, false])) addBoolean('base64', choose([true, false]))
  return fields
}

function shuffled<T>(list: readonly T[], choose: Choose): T[] {
  return list
    .map(item => ({ item, rank: choose([0, 1, 2, 3, 4, 5, 6]) }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item)
}

function writeImage(choose: Choose): string {
  const base64 = image.toString('base64')
  return choose([
    base64,
    base64.replace(/=+$/, ''),
    base64.replace(/.{64}/g, '$&\r\n'),
    image.toString('base64url'),
    `data:image/png;base64,${base64}`,
  ])
}

async function receive(params: Params, choose: Choose): Promise<ReceivedForm> {
  const fields = writeFields(params, choose)
  if (choose([true, false])) {
    const members = [...fields, { name: 'image', json: JSON.stringify(writeImage(choose)), text: '' }]
    const space = choose(['', ' ', '\n'])
    const text = shuffled(members, choose).map(({ name, json }) => `${space}"${name}"${space}:${json}`)
    return receiveJson(Buffer.from(`{${text.join(',')}${space}}`), limits)
  }
  const texts = fields.map(
    ({ name, text }) =>
      ({ type: 'field', fieldname: name, value: text, valueTruncated: false, encoding: '7bit' }) as const,
  )
  const parts = shuffled([...texts, writeFile(choose)], choose)
  const request = { headers: {}, raw: new PassThrough(), parts: () => partsOf(parts) }
  return receiveMultipart(request, limits)
}

function writeFile(choose: Choose): UploadPart {
  const asFile = choose([true, false])
  const bytes = asFile ? image : Buffer.from(writeImage(choose))
  const cut = choose([1, 5, 100])
  async function* file(): AsyncGenerator<Buffer> {
    yield bytes.subarray(0, cut)
    yield bytes.subarray(cut)
  }
  const named = asFile ? { filename: choose(['a.jpg', 'b.png', 'blob', '']) } : {}
  const mimetype = asFile ? choose(['image/jpeg', 'text/plain', 'application/octet-stream']) : 'text/plain'
  return { type: 'file', fieldname: 'image', mimetype, encoding: '7bit', file: file(), ...named }
}

async function* partsOf(parts: readonly UploadPart[]): AsyncGenerator<UploadPart> {
  yield* parts
}

function keyOf(form: ReceivedForm): string {
  if (form.image.kind !== 'bytes') throw new Error('not the image')
  return cacheKey(form.image.image.digest, parseParams(form.fields, { base64Default: false }).params, '')
}

t.test('two spellings of the same meaning share a key', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryParams, tape, tape, async (params, choose, chooseOtherwise) => {
      const one = keyOf(await receive(params, choose))
      const other = keyOf(await receive(params, chooseOtherwise))
      return one === other && one === cacheKey(digest, params, '')
    }),
    { numRuns: 500 },
  )
})

t.test('questions that may have different pictures have different keys', async () => {
  fc.assert(
    fc.property(arbitraryParams, arbitraryParams, (one, other) => {
      const same = JSON.stringify(canonical(one)) === JSON.stringify(canonical(other))
      return (cacheKey(digest, one, '') === cacheKey(digest, other, '')) === same
    }),
    { numRuns: 1000 },
  )
})

function canonical({ prompt, coordinates, removeCoordinates, overlayMask }: Params): object {
  return { prompt, coordinates, removeCoordinates, overlayMask }
}

t.test('every small change of a question changes its key', async () => {
  const far = [9999, 9999] as const
  const changes: ((params: Params) => Params | undefined)[] = [
    params => ({ ...params, overlayMask: !params.overlayMask }),
    params => ({ ...params, removeCoordinates: [...(params.removeCoordinates ?? []), far] }),
    ({ removeCoordinates, ...others }) => (removeCoordinates ? others : undefined),
    params => (params.prompt === undefined ? undefined : { ...params, prompt: `${params.prompt}s` }),
    params => (params.prompt === undefined ? undefined : { ...params, prompt: params.prompt.normalize('NFD') }),
    params => (params.coordinates ? { ...params, coordinates: [far, ...params.coordinates] } : undefined),
    params => (params.coordinates ? { ...params, coordinates: params.coordinates.toReversed() } : undefined),
    params => (params.coordinates ? { ...params, coordinates: params.coordinates.map(([x, y]) => [y, x]) } : undefined),
    params =>
      params.coordinates ? { ...params, coordinates: params.coordinates.map(([x, y]) => [x, y + 1e-9]) } : undefined,
    ({ coordinates, removeCoordinates, overlayMask }) =>
      coordinates && removeCoordinates
        ? { coordinates: removeCoordinates, removeCoordinates: coordinates, overlayMask }
        : undefined,
  ]
  fc.assert(
    fc.property(arbitraryParams, fc.constantFrom(...changes), (params, change) => {
      const changed = change(params)
      if (changed === undefined || JSON.stringify(changed) === JSON.stringify(params)) return true
      return cacheKey(digest, changed, '') !== cacheKey(digest, params, '')
    }),
    { numRuns: 1000 },
  )
})

t.test('image and scope are separate parts of the key', async t => {
  const params: Params = { prompt: 'cat', overlayMask: true }
  const keys = [
    cacheKey(digest, params, ''),
    cacheKey(digest, params, 'vision'),
    cacheKey(digest, params, 'visio'),
    cacheKey('a'.repeat(64), params, ''),
    cacheKey('a'.repeat(64), params, 'vision'),
    cacheKey('', params, digest),
    cacheKey(digest, { prompt: 'null', overlayMask: true }, ''),
    cacheKey(digest, { prompt: '[[1,2]]', overlayMask: true }, ''),
    cacheKey(digest, { coordinates: [[1, 2]], overlayMask: true }, ''),
    cacheKey(digest, { coordinates: [[12, 0]], overlayMask: true }, ''),
    cacheKey(digest, { coordinates: [[1, 20]], overlayMask: true }, ''),
  ]
  t.equal(new Set(keys).size, keys.length)
  for (const key of keys) t.match(key, /^[0-9a-f]{64}$/)
})

t.test('the key of a known question is stable across versions', async t => {
  const params: Params = { coordinates: [[834, 74.5]], removeCoordinates: [[0, 1]], overlayMask: false }
  const written = `["v1","sam-v2-image","vision","${digest}",null,[[834,74.5]],[[0,1]],false]`
  t.equal(cacheKey(digest, params, 'vision'), createHash('sha256').update(written).digest('hex'))
})
