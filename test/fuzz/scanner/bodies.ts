import type { UploadForm } from '../../../src/input/form.js'
import type { Random } from '../../support/random.js'
import { bytes, mutated, oddText } from '../values.js'

/** One upload: a body in the chunks in which it arrives, and how it ends. */
export interface Upload {
  contentType: string
  chunks: Buffer[]
  form: UploadForm
  maxImageBytes: number
  /** Bytes after which no more may be booked. */
  memoryBytes: number
  /** The client leaves after all chunks. */
  isAborted: boolean
}

/** Limits that short bodies exceed. */
const FORM: UploadForm = {
  fields: ['prompt', 'coordinates', 'overlay_mask', 'output'],
  fieldsBytes: 1_000,
  fieldBytes: 300,
  maxDepth: 4,
  maxTokens: 100,
}
const MAX_IMAGE_BYTES = 1_200
const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0])

/** Creates an upload as usual clients send it, or one that differs a little, or a lot. */
export function uploadOf(random: Random): Upload {
  const boundary = boundaryOf(random)
  const oddness = random.pick([0, 0, 0, 0, 0.05, 0.3])
  const parts = shuffled(random, partsOf(random, boundary, oddness))
  const whole = joined(random, { boundary, parts, oddness })
  const body = oddness > 0 && random.chance(0.3) ? mutated(random, whole) : whole
  const isCut = random.chance(0.05)
  return {
    contentType: contentTypeOf(random, boundary, oddness),
    chunks: chunksOf(random, isCut ? body.subarray(0, random.between(0, body.length)) : body, boundary),
    form: FORM,
    maxImageBytes: MAX_IMAGE_BYTES,
    memoryBytes: random.chance(0.1) ? random.between(0, MAX_IMAGE_BYTES) : Number.POSITIVE_INFINITY,
    isAborted: random.chance(0.03),
  }
}

function boundaryOf(random: Random): string {
  const text = (characters: string, length: number) =>
    Array.from({ length }, () => random.pick([...characters])).join('')
  const hex = '0123456789abcdef'
  return random.pick([
    () => `----WebKitFormBoundary${text('ABCxyz019', 16)}`,
    () => `---------------------------${text('0123456789', 29)}`,
    () => `------------------------${text(hex, 22)}`,
    () => `----formdata-undici-0${text('0123456789', 11)}`,
    () => text(hex, random.pick([32, 60])),
    () => text('-a', random.between(1, 6)),
    () => text("aZ9'()+_,-./:=?", random.between(1, 70)),
    () => (random.chance(0.3) ? text('ab -"', random.between(1, 8)) : text(hex, 16)),
  ])()
}

function contentTypeOf(random: Random, boundary: string, oddness: number): string {
  const quote = /^[\w.+-]+$/.test(boundary) && random.chance(0.7) ? '' : random.chance(0.1) ? '' : '"'
  const usual = `multipart/form-data; boundary=${quote}${boundary}${quote}`
  if (!random.chance(oddness)) return usual
  return random.pick([
    `Multipart/Form-Data;boundary=${boundary}`,
    `multipart/form-data; charset=utf-8; boundary=${boundary}`,
    `multipart/form-data; boundary=${boundary}; charset=utf-8`,
    'multipart/form-data',
    'multipart/form-data; boundary=',
    `multipart/form-data; boundary=${boundary}x`,
    `multipart/form-data;  Boundary="${boundary}"`,
    `multipart/form-data; boundary=${boundary.repeat(20)}`,
  ])
}

function partsOf(random: Random, boundary: string, oddness: number): Buffer[] {
  const image = () => partOf(random, { boundary, oddness, name: 'image' })
  const names = shuffled(random, FORM.fields)
  const text = () => partOf(random, { boundary, oddness, name: names.pop() ?? random.pick(FORM.fields) })
  const parts = Array.from({ length: random.between(0, 3) }, text)
  if (!random.chance(0.05)) parts.push(image())
  if (random.chance(oddness / 2)) parts.push(image())
  if (random.chance(oddness / 8)) parts.push(...Array.from({ length: random.between(10, 40) }, text))
  return parts
}

interface PartChoice {
  boundary: string
  oddness: number
  name: string
}

function partOf(random: Random, { boundary, oddness, name: usualName }: PartChoice): Buffer {
  const isImage = usualName === 'image'
  const isOdd = () => random.chance(oddness)
  const name = isOdd() ? oddText(random) : usualName
  const headers = isOdd()
    ? oddHeaders(random, name)
    : usualHeaders(random, { name, isFile: isImage && random.chance(0.8) })
  const lines = shuffled(
    random,
    headers.filter(() => !random.chance(oddness / 10)),
  )
  const [lineBreak, end] = isOdd() ? random.pick(ODD_LINES) : ['\r\n', '\r\n\r\n']
  const content = isImage ? imageOf(random, boundary) : textOf(random, boundary)
  return Buffer.concat([Buffer.from(`\r\n${lines.join(lineBreak)}${end}`, random.pick(['utf8', 'latin1'])), content])
}

const ODD_LINES: readonly (readonly [string, string])[] = [
  ['\n', '\n\n'],
  ['\r\n', '\r\n'],
  ['\r\n ', '\r\n\r\n'],
  ['\r\n\r\n', '\r\n\r\n'],
  ['\r\n', '\r\n\r\n\r\n'],
  ['\r', '\r\n\r\n'],
]

const OTHER_TEXT_TYPES = ['application/json', 'text/plain; charset=iso-8859-1']

function usualHeaders(random: Random, { name, isFile }: { name: string; isFile: boolean }): string[] {
  const file = random.pick(['photo.jpg', 'blob', '', '\u00e9\u{1f600}.png', 'a b;c=d.jpg', '..', 'x'.repeat(250)])
  const disposition = `form-data; name="${name}"${isFile ? `; filename="${file}"` : ''}`
  const types = isFile
    ? ['image/jpeg', 'application/octet-stream', 'Image/PNG', 'text/plain']
    : ['text/plain', 'text/plain; charset=utf-8', 'text/plain;charset=UTF-8', ...OTHER_TEXT_TYPES]
  const headers = [`${random.pick(['Content-Disposition', 'content-disposition'])}: ${disposition}`]
  if (random.chance(isFile ? 0.8 : 0.2))
    headers.push(`${random.pick(['Content-Type', 'content-type'])}: ${random.pick(types)}`)
  if (random.chance(0.1)) headers.push(`Content-Length: ${random.between(0, 5_000)}`)
  return headers
}

function oddHeaders(random: Random, name: string): string[] {
  const usual = random.pick([`form-data; name="${name}"`, `form-data; name="${name}"; filename="a.jpg"`])
  const odd = random.pick([
    `form-data; name=${name}`,
    `form-data; name="${name}"; filename=x`,
    `form-data; name="${name}"; filename*=UTF-8''%e2%82%ac.jpg`,
    `form-data; name*=utf-8''${name}; name="prompt"`,
    `form-data; name="${name}"; name="prompt"`,
    `form-data; name="${name}"; filename="a\\"b.jpg"`,
    `form-data; name="${name}"; filename="${oddText(random)}"`,
    `form-data; name="${name}" ; filename="a"`,
    `form-data; filename="a"; name="${name}"`,
    `form-data;name="${name}"`,
    `form-data; name="${name}";`,
    `form-data; name="${name}"trailing`,
    `form-data; name="${name}"; x=y`,
    `Form-Data; Name="${name}"`,
    `attachment; name="${name}"`,
    'form-data',
    oddText(random),
  ])
  const other = random.pick([
    'Content-Type: text/plain; charset=utf-16le',
    'Content-Type: text/plain; charset="utf-8"',
    'Content-Type: ',
    'Content-Type:text/html',
    'Content-Type:\timage/png',
    'Content-Type: image/jpeg ',
    `Content-Type: ${oddText(random)}`,
    'Content-Transfer-Encoding: base64',
    'Content-Transfer-Encoding: binary',
    'Content-Disposition: form-data; name="output"',
    `X-Odd: ${'x'.repeat(random.pick([1, 1_500, 2_100]))}`,
    'no colon',
    ': no name',
    `${oddText(random)}: x`,
  ])
  const many = random.chance(0.1) ? Array.from({ length: random.between(10, 20) }, (_, index) => `X-${index}: y`) : []
  const disposition = `Content-Disposition: ${random.chance(0.5) ? usual : odd}`
  return [...many, disposition, ...(random.chance(0.6) ? [other] : [])]
}

function imageOf(random: Random, boundary: string): Buffer {
  const noise = () =>
    Buffer.concat([JPEG, ...Array.from({ length: random.between(0, 6) }, () => pieceOf(random, boundary))])
  return random.pick([
    noise,
    noise,
    noise,
    noise,
    () => Buffer.concat([noise(), bytes(random, 20), Buffer.alloc(random.between(0, 1_400), 'a')]),
    () => Buffer.concat([JPEG, Buffer.alloc(MAX_IMAGE_BYTES - JPEG.length + random.between(-1, 1), '\r')]),
    () =>
      Buffer.from(
        random.pick(['', ' ', 'https://example.com/a.jpg', `sha256:${'ab'.repeat(32)}`, 'GIF89a', '/9j/AAAA']),
      ),
    () => Buffer.from(`data:image/jpeg;base64,${noise().toString('base64')}`),
  ])()
}

function textOf(random: Random, boundary: string): Buffer {
  return random.pick([
    () => Buffer.from(random.pick(['a cat', 'true', '[[1,2]]', '', 'gr\u00f6\u00dfer', '\ufeffcat', '\u{1f600}'])),
    () => pieceOf(random, boundary),
    () => Buffer.from(oddText(random)),
    () => Buffer.alloc(FORM.fieldBytes + random.between(-1, 1), random.pick(['a', '\u00e9', '\xff'])),
  ])()
}

/** Bytes that look like a delimiter as far as content may. */
function pieceOf(random: Random, boundary: string): Buffer {
  const delimiter = `\r\n--${boundary}`
  return random.pick([
    () => bytes(random, random.between(1, 60)),
    () => Buffer.from(delimiter.slice(0, random.between(1, delimiter.length - 1)), 'latin1'),
    () => Buffer.from(delimiter.slice(random.between(1, 3)), 'latin1'),
    () => Buffer.from(random.pick(['\r', '\n', '\r\n', '\r\r\n', '\r\n-', '\r\n--', '\r\n\r\n', '--', '-'])),
    () => Buffer.alloc(random.between(1, 250), random.pick(['\r', '\r\n', '-', 'a'])),
  ])()
}

interface BodyChoice {
  boundary: string
  parts: readonly Buffer[]
  oddness: number
}

function joined(random: Random, { boundary, parts, oddness }: BodyChoice): Buffer {
  const isOdd = () => random.chance(oddness / 3)
  const preamble = isOdd() ? random.pick(['preamble\r\n', '\r\n', '\n', ' ', '-']) : ''
  const epilogue = isOdd()
    ? random.pick(['\r\nepilogue', '\n', ' ', '--', `\r\n--${boundary}\r\n`])
    : random.pick(['', '\r\n'])
  const pieces = parts.flatMap((part, index) => [
    Buffer.from(
      `${index > 0 && !isOdd() ? '\r\n' : ''}--${boundary}${isOdd() ? random.pick([' ', '\t', '-']) : ''}`,
      'latin1',
    ),
    part,
  ])
  const closing = isOdd() ? random.pick(['', '\r\n', `\n--${boundary}--`, `\r\n--${boundary}-`]) : `\r\n--${boundary}--`
  const lead = parts.length === 0 ? closing.trimStart() : closing
  return Buffer.concat([Buffer.from(preamble), ...pieces, Buffer.from(lead + epilogue, 'latin1')])
}

/** Cuts a body anywhere, and often within a delimiter. */
function chunksOf(random: Random, body: Buffer, boundary: string): Buffer[] {
  const size = random.pick([1, 2, 7, 50, 400, body.length, body.length])
  if (size > 0 && size < body.length && random.chance(0.5)) {
    return Array.from({ length: Math.ceil(body.length / size) }, (_, index) =>
      body.subarray(index * size, (index + 1) * size),
    )
  }
  const cuts = Array.from({ length: random.between(0, 6) }, () => {
    const near = body.indexOf(`--${boundary}`, random.between(0, body.length), 'latin1')
    if (near < 0 || random.chance(0.3)) return random.between(0, body.length)
    return Math.min(body.length, Math.max(0, near + random.between(-4, boundary.length + 6)))
  }).sort((a, b) => a - b)
  return [0, ...cuts]
    .map((from, index) => body.subarray(from, cuts[index] ?? body.length))
    .filter(({ length }) => length > 0)
}

function shuffled<T>(random: Random, items: readonly T[]): T[] {
  return items
    .map(item => ({ item, at: random.next() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
