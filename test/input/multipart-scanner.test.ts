import { createHash } from 'node:crypto'
import t from 'tap'
import { emptyDraft, type FormDraft } from '../../src/input/form.js'
import { MultipartScanner, usualBoundary } from '../../src/input/multipart-scanner.js'
import { smallJpeg } from '../fixtures/odd-images.js'

const jpeg = await smallJpeg(60, 40)
const limits = { maxImageBytes: jpeg.length }
const disposition = (rest: string): string => `Content-Disposition: form-data; ${rest}`
const IMAGE = `${disposition('name="image"; filename="a.jpg"')}\r\nContent-Type: image/jpeg`
const PROMPT = disposition('name="prompt"')

type Part = [head: string, content: Buffer | string]

function bodyOf(boundary: string, ...parts: Part[]): Buffer {
  const all = parts.flatMap(([head, content]) => [`--${boundary}\r\n${head}\r\n\r\n`, content, '\r\n'])
  return Buffer.concat([...all, `--${boundary}--\r\n`].map(piece => Buffer.from(piece)))
}

interface Scan {
  scanner: MultipartScanner
  draft: FormDraft
}

/** Scans a body in chunks of this size, until it is unusual. */
function scan(body: Buffer, { boundary = 'XX', chunkBytes = body.length } = {}): Scan {
  const draft = emptyDraft(limits)
  const scanner = new MultipartScanner(boundary, draft)
  for (let at = 0; at < body.length && !scanner.isUnusual; at += chunkBytes) {
    scanner.push(Buffer.from(body.subarray(at, at + chunkBytes)))
  }
  return { scanner, draft }
}

t.test('the forms of usual clients are read, in chunks of any size', async t => {
  const bytes = 'application/octet-stream'
  const clients: Record<string, [boundary: string, imageHead: string, promptHead: string]> = {
    curl: ['------------------------d74496d66958873e', IMAGE, PROMPT],
    Chromium: ['----WebKitFormBoundary7MA4YWxkTrZu0gW', IMAGE, PROMPT],
    Firefox: ['----geckoformboundary8ea2d7d1a1ae4a2f', IMAGE, PROMPT],
    undici: ['----formdata-undici-012345678901', IMAGE, PROMPT],
    'Python requests': ['5c9a1b1ff2cd44ac9a2b7d0e2b1c3d4e', disposition('name="image"; filename="a.jpg"'), PROMPT],
    aiohttp: ['1f2e', `Content-Type: ${bytes}\r\n${disposition('name="image"; filename="a.jpg"')}`, PROMPT],
    Go: ['ab'.repeat(30), `${disposition('name="image"; filename="a.jpg"')}\r\nContent-Type: ${bytes}`, PROMPT],
    OkHttp: ['4f2a-b1', `${IMAGE}\r\nContent-Length: ${jpeg.length}`, `${PROMPT}\r\nContent-Length: 8`],
    Java: ['x', IMAGE, `${PROMPT}\r\nContent-Type: text/plain; charset=UTF-8`],
  }
  for (const [client, [boundary, imageHead, promptHead]] of Object.entries(clients)) {
    const body = bodyOf(boundary, [imageHead, jpeg], [promptHead, 'größer'])
    for (const chunkBytes of [1, 2, 3, 7, 64, 1_000, body.length]) {
      const { scanner, draft } = scan(body, { boundary, chunkBytes })
      t.ok(scanner.isClosed, `${client} by ${chunkBytes}`)
      const digest = createHash('sha256').update(jpeg).digest('hex')
      t.match(
        draft,
        { fields: { prompt: 'größer' }, image: { kind: 'bytes', image: { type: 'jpeg', digest } } },
        client,
      )
      const image = draft.image?.kind === 'bytes' ? Buffer.concat(draft.image.image.chunks) : undefined
      t.ok(image?.equals(jpeg), `${client}: the bytes of the image`)
      t.equal(draft.receivedBytes, jpeg.length + Buffer.byteLength('größer'))
    }
  }
})

t.test('content may hold whatever resembles a delimiter', async t => {
  const contents = ['\r\n--X', '\r\n-', '\r\r\n--X', 'a--XX', '\n--XX', '\r\n\r\n--XY\r\n', '\r', '\r\n--X\r\n--X', '']
  for (const content of contents) {
    const body = bodyOf('XX', [PROMPT, content], [IMAGE, Buffer.concat([jpeg.subarray(0, 20), Buffer.from(content)])])
    for (let chunkBytes = 1; chunkBytes <= body.length; chunkBytes++) {
      const { scanner, draft } = scan(body, { chunkBytes })
      const isRead = scanner.isClosed && draft.fields.prompt === content
      if (!isRead) t.fail(`${JSON.stringify(content)} by ${chunkBytes}`)
    }
  }
})

t.test('an image is kept as the chunks in which it arrived', async t => {
  const draft = emptyDraft({ maxImageBytes: 200_000 })
  const scanner = new MultipartScanner('XX', draft)
  const chunks = [65_536, 65_536, 20_000].map(size => Buffer.alloc(size, 1))
  jpeg.copy(chunks[0] as Buffer)
  for (const chunk of [Buffer.from(`--XX\r\n${IMAGE}\r\n\r\n`), ...chunks, Buffer.from('\r\n--XX--')])
    scanner.push(chunk)
  t.ok(scanner.isClosed)
  const kept = draft.image?.kind === 'bytes' ? draft.image.image.chunks : []
  t.strictSame(
    kept.map(({ buffer }) => buffer),
    chunks.map(({ buffer }) => buffer),
  )
})

t.test('an image may release its memory if no chunk shares it', async t => {
  const body = bodyOf('XX', [IMAGE, jpeg])
  const chunksIn = (memory: (bytes: Buffer) => Buffer): Buffer[] =>
    [body.subarray(0, 30), body.subarray(30)].map(bytes => memory(bytes))
  const own = (bytes: Buffer): Buffer => Buffer.from(new Uint8Array(bytes).buffer)
  const cases: [name: string, chunks: Buffer[], ownsChunks: boolean, isReleasable: boolean][] = [
    ['each in memory of its own', chunksIn(own), true, true],
    ['parts of a larger buffer', chunksIn(bytes => bytes), true, false],
    ['used by the caller as well', chunksIn(own), false, false],
  ]
  for (const [name, chunks, ownsChunks, isReleasable] of cases) {
    const scanner = new MultipartScanner('XX', emptyDraft(limits), { ownsChunks })
    for (const chunk of chunks) scanner.push(chunk)
    const { image } = scanner.finish()
    t.equal(image?.kind === 'bytes' && image.image.release !== undefined, isReleasable, name)
  }
})

t.test('everything unusual is left to the parser, which gets every byte', async t => {
  const usual: Part[] = [
    [PROMPT, 'cat'],
    [IMAGE, jpeg],
  ]
  const one = (head: string, content: Buffer | string = 'x'): Buffer => bodyOf('XX', ...usual, [head, content])
  const text = bodyOf('XX', ...usual).toString('latin1')
  const replaced = (from: string, to: string): Buffer => Buffer.from(text.replace(from, to), 'latin1')
  const mask = 'name="overlay_mask"'
  const cases: Record<string, Buffer> = {
    'a preamble': Buffer.concat([Buffer.from('hello\r\n'), bodyOf('XX', ...usual)]),
    'a preamble without an end': Buffer.alloc(3_000, 'x'),
    'an epilogue': Buffer.concat([bodyOf('XX', ...usual), Buffer.from('x')]),
    'no parts': Buffer.from('--XX--\r\n\r\n\r\n'),
    'an unknown field': one(disposition('name="seed"')),
    'a repeated field': one(PROMPT),
    'a second image': one(IMAGE, jpeg),
    'a field as a file': one(disposition(`${mask}; filename="a"`)),
    'a field as JSON': one(`${disposition(mask)}\r\nContent-Type: application/json`),
    'another charset': one(`${disposition(mask)}\r\nContent-Type: text/plain; charset=latin1`),
    'a transfer encoding': one(`${disposition(mask)}\r\nContent-Transfer-Encoding: 8bit`),
    'a name without quotes': one(disposition('name=overlay_mask')),
    'a name in the extended notation': one(disposition("name*=utf-8''overlay_mask")),
    'an escaped file name': replaced('a.jpg', 'a\\".jpg'),
    'another parameter': one(disposition(`${mask}; x=y`)),
    'another disposition': one(`Content-Disposition: attachment; ${mask}`),
    'no disposition': one('Content-Type: text/plain'),
    'another header': one(`${disposition(mask)}\r\nX-Odd: 1`),
    'a header twice': one(`${disposition(mask)}\r\n${disposition(mask)}`),
    'a folded header': one(`Content-Disposition: form-data;\r\n ${mask}`),
    'a long head': one(disposition(`${mask}; filename="${'x'.repeat(3_000)}"`)),
    'lines that end with LF': one(`${disposition(mask)}\n`),
    'blanks behind a boundary': replaced('--XX\r\n', '--XX \r\n'),
    'a delimiter behind a head': replaced('cat', '--XX'),
    'a field that is too long': one(disposition(mask), 'x'.repeat(65_537)),
    'an image that is too large': bodyOf('XX', [IMAGE, Buffer.concat([jpeg, Buffer.from('x')])]),
    'a file that is no image': bodyOf('XX', [IMAGE, 'GIF89a']),
  }
  for (const [name, body] of Object.entries(cases)) {
    for (const chunkBytes of [1, 5, 100, body.length]) {
      const { scanner } = scan(body, { chunkBytes })
      const label = `${name} by ${chunkBytes}`
      // The end of the body shows that it has no closing delimiter.
      t.notOk(scanner.isClosed, label)
      const received = Buffer.concat(scanner.replay())
      t.ok(received.equals(body.subarray(0, received.length)) && received.length > 0, label)
    }
  }
})

t.test('a body can be replayed wherever it ends', async t => {
  const body = bodyOf('XX', [PROMPT, 'cat'], [IMAGE, jpeg.subarray(0, 50)], [disposition('name="output"'), 'mask'])
  for (let end = 0; end <= body.length; end++) {
    for (const chunkBytes of [1, 9, end]) {
      const { scanner } = scan(body.subarray(0, end), { chunkBytes: Math.max(1, chunkBytes) })
      const isWhole = Buffer.concat(scanner.replay()).equals(body.subarray(0, end))
      if (!isWhole) t.fail(`${end} bytes by ${chunkBytes}`)
    }
  }
})

t.test('bytes of an image are booked before they are kept', async t => {
  const full = new Error('no memory')
  const draft = emptyDraft({
    ...limits,
    onBytes: () => {
      throw full
    },
  })
  const scanner = new MultipartScanner('XX', draft)
  t.throws(() => scanner.push(bodyOf('XX', [IMAGE, jpeg])), full)
})

t.test('a boundary is usual if usual clients write it so', async t => {
  const cases: [string | undefined, string | undefined][] = [
    ['multipart/form-data; boundary=XX', 'XX'],
    ['Multipart/Form-Data;boundary="a=b"', 'a=b'],
    ['multipart/form-data; boundary="a b"', undefined],
    ['multipart/form-data; boundary="XX', undefined],
    ['multipart/form-data; charset=utf-8; boundary=XX', undefined],
    ['multipart/form-data; boundary=XX; charset=utf-8', undefined],
    [`multipart/form-data; boundary=${'x'.repeat(71)}`, undefined],
    ['multipart/mixed; boundary=XX', undefined],
    ['multipart/form-data', undefined],
    [undefined, undefined],
  ]
  for (const [contentType, boundary] of cases) t.equal(usualBoundary(contentType), boundary, String(contentType))
})
