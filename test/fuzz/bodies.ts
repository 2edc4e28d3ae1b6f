import { createHash } from 'node:crypto'
import type { Random } from '../support/random.js'
import type { Case } from './case.js'
import { framed, isExact, posted } from './framing.js'
import { bytes, mutated, oddJson, oddText } from './values.js'
import type { FuzzRequest } from './wire.js'

const ROUTES = ['/segment', '/segment', '/segment/quote', '/v1/sam-v2-image', '/images', '/segment/batch']
const FIELDS = [
  'prompt',
  'coordinates',
  'remove_coordinates',
  'overlay_mask',
  'base64',
  'output',
  'selections',
  'image',
]
const TOKEN = /^[\w.+-]+$/

interface Part {
  head: string
  body: Buffer
}

/** Multipart bodies. A legal one, however odd, is understood; a mutated one is answered as documented. */
export async function multipartCase(fuzz: Case): Promise<void> {
  const { random, world, seed } = fuzz
  const prompt = `multipart ${seed} ${random.pick(['', '\u00e9', '"quoted"', '\u{1f600}', '--boundary'])}`.trim()
  const boundary = boundaryOf(random)
  const parts = shuffled(random, [
    filePart(random, world.image),
    textPart(random, 'prompt', Buffer.from(prompt)),
    ...(random.chance(0.3) ? [textPart(random, 'overlay_mask', Buffer.from(random.pick(['true', 'Yes', 'on'])))] : []),
  ])
  const quoted = TOKEN.test(boundary) && random.chance(0.5) ? boundary : `"${boundary}"`
  const type = `${random.pick(['multipart/form-data', 'Multipart/Form-Data'])}; boundary=${quoted}`
  const body = join(boundary, parts, random)
  if (random.chance(0.4)) {
    const request = framed(random, { path: '/segment', type, body, headers: keyOf(fuzz) })
    if (isExact(request, body)) await expectPurchase(fuzz, request, prompt)
    else await fuzz.send(request)
    return
  }
  const changed = random.chance(0.5) ? join(boundary, oddParts(random, parts), random) : mutated(random, body)
  const oddType = random.chance(0.1) ? `multipart/form-data; boundary=${oddText(random)}` : type
  const path = random.pick(ROUTES)
  const safe = Buffer.from(oddType)
    .toString('latin1')
    .replace(/\p{Cc}/gu, '')
  await fuzz.send(framed(random, { path, type: safe, body: changed, headers: keyOf(fuzz) }))
}

function boundaryOf(random: Random): string {
  const characters = random.chance(0.5) ? 'abcXYZ0189-' : "aZ9'()+_,-./:=?"
  return Array.from({ length: random.between(1, 70) }, () => random.pick([...characters])).join('')
}

function filePart(random: Random, body: Buffer): Part {
  const name = random.pick([
    'photo.jpg',
    'a b.jpg',
    '',
    '\u00e9\u{1f600}.png',
    '../../x',
    'a\\"b.jpg',
    'x'.repeat(200),
    'CON',
  ])
  const extended = random.chance(0.1) ? "; filename*=UTF-8''%e2%82%ac.jpg" : ''
  const type = random.pick(['\r\nContent-Type: image/jpeg', '\r\ncontent-type: image/webp', ''])
  const odd = random.chance(0.2) ? '\r\nX-Odd: 1' : ''
  const isNamed = name !== '' || type !== ''
  const fileName = isNamed ? `; filename="${name || 'x'}"` : '; filename="x"'
  return { head: `Content-Disposition: form-data; name="image"${fileName}${extended}${type}${odd}`, body }
}

function textPart(random: Random, name: string, body: Buffer): Part {
  const disposition = random.pick(['Content-Disposition', 'content-disposition', 'CONTENT-DISPOSITION'])
  const type = random.pick(['', '', '\r\nContent-Type: text/plain; charset=utf-8'])
  return { head: `${disposition}: form-data; name="${name}"${type}`, body }
}

/** Repeats, leaves out, renames and swells parts. */
function oddParts(random: Random, parts: readonly Part[]): Part[] {
  const body = () =>
    random.pick([Buffer.from(oddText(random)), bytes(random, 40), Buffer.alloc(random.pick([0, 70_000, 150_000]), 'a')])
  const odd = (): Part => {
    const name = random.chance(0.5) ? random.pick(FIELDS) : oddText(random)
    const disposition = random.chance(0.8) ? `Content-Disposition: form-data; name="${name}"` : oddText(random)
    const file = random.pick(['', '; filename="x"', '; filename=', `; filename*=${oddText(random)}`])
    const encoding = random.pick([
      '',
      '',
      '\r\nContent-Transfer-Encoding: base64',
      '\r\nContent-Type: application/json',
    ])
    const many = random.chance(0.05) ? '\r\nX: y'.repeat(random.between(15, 3_000)) : ''
    return { head: disposition + file + encoding + many, body: body() }
  }
  const kept = parts.filter(() => random.chance(0.8))
  const repeated = kept.filter(() => random.chance(0.15))
  const added = Array.from({ length: random.chance(0.05) ? 40 : random.between(0, 3) }, odd)
  return shuffled(random, [...kept, ...repeated, ...added])
}

function join(boundary: string, parts: readonly Part[], random: Random): Buffer {
  const preamble = random.chance(0.1) ? 'a preamble\r\n' : ''
  const epilogue = random.chance(0.1) ? '\r\nan epilogue' : random.pick(['', '\r\n'])
  const pieces = parts.flatMap(({ head, body }) => [
    Buffer.from(`--${boundary}\r\n${head}\r\n\r\n`),
    body,
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([Buffer.from(preamble), ...pieces, Buffer.from(`--${boundary}--${epilogue}`)])
}

/** JSON bodies. Any spelling of the same value is understood alike. */
export async function jsonCase(fuzz: Case): Promise<void> {
  const { random, world, seed } = fuzz
  const prompt = `json ${seed} ${random.pick(['', '\u00e9', '"', '\\', '\u{1f600}', '/'])}`.trim()
  const members: [string, unknown][] = shuffled(random, [
    ['image', imageText(random, world.image)],
    ['prompt', prompt],
    ...((random.chance(0.3) ? [['output', random.pick([null, 'overlay'])]] : []) as [string, unknown][]),
  ])
  const body = Buffer.from((random.chance(0.1) ? '\ufeff' : '') + spelled(random, members))
  const type = random.pick(['application/json', 'application/json; charset=utf-8', 'Application/JSON'])
  if (random.chance(0.4)) {
    const request = framed(random, { path: '/segment', type, body, headers: keyOf(fuzz) })
    if (isExact(request, body)) await expectPurchase(fuzz, request, prompt)
    else await fuzz.send(request)
    return
  }
  const changed = random.chance(0.5) ? Buffer.from(oddMembers(random, members)) : mutated(random, body)
  const path = random.pick(ROUTES)
  const request = framed(random, { path, type, body: changed, headers: keyOf(fuzz) })
  const { calls } = world.gateway.upstream
  const before = calls.length
  const answer = await fuzz.send(request)
  if (answer?.status !== 200 || !isExact(request, changed)) return
  const parsed = asObject(changed)
  fuzz.check(parsed !== undefined, 'a body that is not JSON was accepted')
  const sent = calls[before]?.fields.prompt
  const asked = String(parsed?.prompt ?? '').trim()
  if (path === '/segment' && calls.length > before)
    fuzz.check((sent ?? '') === asked, `Segmind got the prompt ${JSON.stringify(sent)} for ${JSON.stringify(asked)}`)
}

function asObject(body: Buffer): Record<string, unknown> | undefined {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
}

/** Spells an image as text in one of the accepted forms. */
function imageText(random: Random, image: Buffer): string {
  const base64 = image.toString(random.pick(['base64', 'base64url']))
  const lines = random.chance(0.3) ? base64.replace(/.{76}/g, `$&${random.pick(['\n', '\r\n'])}`) : base64
  if (random.chance(0.6)) return random.chance(0.2) ? ` ${lines}\n` : lines
  const data = random.pick([lines, base64.replaceAll('+', '%2B').replaceAll('=', '%3d')])
  return `data:${random.pick(['image/png', '', 'text/plain;charset=x'])};base64,${data}`
}

/** Writes JSON with random blanks, escapes and, within large texts, few of them. */
function spelled(random: Random, members: readonly [string, unknown][]): string {
  const blank = () => random.pick(['', '', ' ', '\n\t'])
  const text = (value: string) => {
    const rate = value.length > 200 ? 0.001 : 0.1
    return JSON.stringify(value).replace(/[A-Za-z0-9/]/g, (one, at: number, all: string) =>
      all[at - 1] !== '\\' && !/\\u[0-9a-f]{0,3}$/i.test(all.slice(0, at)) && random.chance(rate)
        ? one === '/'
          ? '\\/'
          : `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`
        : one,
    )
  }
  const written = members.map(([name, value]) => {
    const json = typeof value === 'string' ? text(value) : JSON.stringify(value)
    return `${blank()}${text(name)}${blank()}:${blank()}${json}${blank()}`
  })
  return `${blank()}{${written.join(',')}}${blank()}`
}

function oddMembers(random: Random, members: readonly [string, unknown][]): string {
  const value = () =>
    random.pick([
      () => JSON.stringify(oddJson(random)),
      () =>
        random.pick([
          '1e400',
          '-0',
          '1E+2',
          '0.1e-9',
          '01',
          '+1',
          '.5',
          'NaN',
          'Infinity',
          '"\\ud800"',
          '"\\udc00x"',
          '"\\x"',
          "'a'",
        ]),
      () => '['.repeat(random.pick([3, 10, 20_000])) + ']'.repeat(random.pick([3, 10, 20_000])),
      () => `[${'[1,2],'.repeat(random.pick([50, 100, 3_000]))}[1,2]]`,
      () => `"${'x'.repeat(random.pick([1_000, 70_000, 400_000]))}"`,
    ])()
  const kept = members
    .filter(() => random.chance(0.85))
    .map(([name, given]) => `${JSON.stringify(name)}:${JSON.stringify(given)}`)
  const added = Array.from({ length: random.between(1, 3) }, () => {
    const name = random.chance(0.8) ? random.pick(FIELDS) : oddText(random)
    return `${JSON.stringify(name)}:${value()}`
  })
  return `{${shuffled(random, [...kept, ...added]).join(',')}}`
}

/** Sends a legal request, which must be understood, and another spelling of nothing but its framing. */
async function expectPurchase(fuzz: Case, request: FuzzRequest, prompt: string): Promise<void> {
  const { upstream } = fuzz.world.gateway
  const before = upstream.calls.length
  const answer = await fuzz.send(request)
  fuzz.check(answer?.status === 200, `a legal request got ${answer?.status} ${answer?.body.toString('latin1', 0, 400)}`)
  if (answer?.status !== 200) return
  const digest = createHash('sha256').update(fuzz.world.image).digest('hex')
  const call = upstream.calls[before]
  fuzz.check(answer.headers['x-image-id'] === `sha256:${digest}`, 'the image was read as another one')
  fuzz.check(call?.image.digest === digest, 'Segmind got another image')
  fuzz.check(call?.fields.prompt === prompt, `Segmind got the prompt ${JSON.stringify(call?.fields.prompt)}`)
  fuzz.check(upstream.calls.length === before + 1, `there were ${upstream.calls.length - before} calls`)
}

/** Points. Every spelling of the same points has the same result; points that are none are refused. */
export async function pointsCase(fuzz: Case): Promise<void> {
  const { random, seed } = fuzz
  const count = random.pick([1, 1, 2, 3, 10, 100])
  // The seed makes the points new: the same points of another case would be a hit.
  const points = Array.from({ length: count }, (_, index) => [
    random.between(0, 23),
    index === 0 ? 1 + (seed % 1e9) / 1e9 : random.between(0, 15) + random.pick([0, 0.5, 0.25]),
  ])
  const first = await fuzz.send(pointsRequest(fuzz, pointsText(random, points)))
  const second = await fuzz.send(pointsRequest(fuzz, pointsText(random, points)))
  fuzz.check(first?.status === 200, `legal points got ${first?.status} ${first?.body.toString('latin1', 0, 300)}`)
  const ids = [first, second].map(answer => answer?.headers['x-result-id'])
  fuzz.check(ids[0] === ids[1], 'two spellings of the same points have two results')
  fuzz.check(second?.headers['x-cache'] === 'HIT' && second.headers['x-cost'] === '0', 'the second spelling was no hit')
  const wrong = random.pick([
    () =>
      JSON.stringify([
        ...points,
        random.pick([[1], [1, 2, 3], ['1', 2], [null, 1], {}, [[1, 2]], [-1, 2], [1, -1e-9]]),
      ]),
    () =>
      `[[${random.pick(['NaN', 'Infinity', '1e400', '-1', '0x1', '1,2,3', '', ' ', '"1","2"', 'true,1'])}${random.pick(['', ',1'])}]]`,
    () => JSON.stringify(Array.from({ length: random.pick([101, 1_000, 9_000]) }, () => [1, 2])),
    () => oddText(random),
    () => JSON.stringify(oddJson(random)),
  ])()
  const answer = await fuzz.send(pointsRequest(fuzz, wrong))
  if (answer?.status === 200) fuzz.check(isPoints(wrong), `the points ${wrong.slice(0, 200)} were accepted`)
}

/** A second, independent reading of the rule for points. */
function isPoints(text: string): boolean {
  const value: unknown = JSON.parse(text.trim())
  const isNumber = (each: unknown) => typeof each === 'number' && each >= 0 && each < Number.POSITIVE_INFINITY
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(isNumber)
  return isPair(value) || (Array.isArray(value) && value.length <= 100 && value.every(isPair))
}

function pointsText(random: Random, points: number[][]): string {
  const number = (value: number) =>
    random.pick([
      `${value}`,
      Number.isInteger(value) ? `${value}.0` : `${value}`,
      `${value}e0`,
      `${value * 10}`.includes('e') || !Number.isInteger(value) ? `${value}` : `${value * 10}E-1`,
    ])
  const blank = () => random.pick(['', '', ' ', '\n'])
  const pairs = points.map(pair => `${blank()}[${pair.map(number).join(`${blank()},${blank()}`)}]${blank()}`)
  return points.length === 1 && random.chance(0.5) ? (pairs[0] as string) : `[${pairs.join(',')}]`
}

/** Sends points as text of a form, as JSON text, or as JSON where they are valid JSON. */
function pointsRequest(fuzz: Case, text: string): FuzzRequest {
  const { random, world } = fuzz
  const headers = keyOf(fuzz)
  const path = '/segment'
  if (random.chance(0.4)) {
    const parts = [filePart(random, world.image), textPart(random, 'coordinates', Buffer.from(text))]
    const body = join('frontier', parts, random)
    return posted({ path, type: 'multipart/form-data; boundary=frontier', body, headers })
  }
  const value = random.chance(0.5) || asObject(Buffer.from(text)) === undefined ? JSON.stringify(text) : text
  const body = Buffer.from(`{"image":"${world.image.toString('base64')}","coordinates":${value}}`)
  return posted({ path, type: 'application/json', body, headers })
}

export function keyOf({ world }: Case): [string, string][] {
  return [['x-api-key', world.gateway.key]]
}

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  return list
    .map(item => ({ item, at: random.next() }))
    .sort((one, other) => one.at - other.at)
    .map(({ item }) => item)
}

/** The request of a prompt. */
export function promptRequest(fuzz: Case, prompt: string, more: Record<string, unknown> = {}): FuzzRequest {
  const body = Buffer.from(JSON.stringify({ image: fuzz.world.image.toString('base64'), prompt, ...more }))
  return posted({ path: '/segment', body, headers: keyOf(fuzz) })
}
