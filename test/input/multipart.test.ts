import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/contracts/errors.js'
import { maxUploadBytes, type ReceivedForm } from '../../src/input/form.js'
import { type MultipartRequest, receiveMultipart, type UploadPart } from '../../src/input/multipart.js'
import { parseParams } from '../../src/input/params.js'
import { smallJpeg } from '../fixtures/odd-images.js'

const limits = { maxImageBytes: 50_000 }
const jpeg = await smallJpeg(60, 40)
const text = (name: string, value: string, ...headers: string[]): Buffer =>
  part([`Content-Disposition: form-data; name="${name}"`, ...headers], value)
const file = (name: string, value: Buffer | string, ...headers: string[]): Buffer =>
  part([`Content-Disposition: form-data; name="${name}"; filename="a.jpg"`, ...headers], value)
const image = file('image', jpeg, 'Content-Type: image/jpeg')

function part(headers: string[], content: Buffer | string): Buffer {
  return Buffer.concat([
    Buffer.from(`--XX\r\n${headers.join('\r\n')}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from('\r\n'),
  ])
}

function body(...parts: Buffer[]): Buffer {
  return Buffer.concat([...parts, Buffer.from('--XX--\r\n')])
}

const imageHeader = 'Content-Disposition: form-data; name="image"; filename="a.jpg"'
const behind = (header: string, count: number): Buffer =>
  part([...Array.from({ length: count }, (_, index) => `X-${index}: x`), header], jpeg)

const latin1Named = Buffer.from(text('prompt', 'x').toString().replace('prompt', 'pr\xffmpt'), 'latin1')

/** A request whose parser yields these parts. */
function of(parts: AsyncIterable<UploadPart>): MultipartRequest {
  return { headers: {}, raw: new PassThrough(), parts: () => parts }
}

type Outcome = ReceivedForm | GatewayError

interface Reception {
  app: FastifyInstance
  /** Outcomes of the requests so far. */
  outcomes: Outcome[]
  /** Sends a body as it is and returns the outcome. */
  send(payload: Buffer, contentType?: string): Promise<Outcome>
}

/** Starts a server with the real plugin that only receives forms. */
async function reception(t: Test, onOutcome: () => void = () => {}): Promise<Reception> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(multipart)
  const outcomes: Outcome[] = []
  app.post('/', async (request, reply) => {
    const received = request as unknown as MultipartRequest
    const outcome = await receiveMultipart(received, limits).catch((error: unknown) => error)
    outcomes.push(outcome as Outcome)
    onOutcome()
    return reply.code(outcome instanceof Error ? 400 : 200).send('')
  })
  const send = async (payload: Buffer, contentType = 'multipart/form-data; boundary=XX'): Promise<Outcome> => {
    await app.inject({ method: 'POST', url: '/', payload, headers: { 'content-type': contentType } })
    return outcomes.at(-1) as Outcome
  }
  return { app, outcomes, send }
}

t.test('a form is read with its fields in any order, and its image is hashed', async t => {
  const { send } = await reception(t)
  const prompt = text('prompt', 'a grey cat, größer')
  const mask = text('overlay_mask', 'True')
  const orders = [
    [image, prompt, mask],
    [prompt, image, mask],
    [prompt, mask, image],
  ]
  for (const parts of orders) {
    const form = await send(body(...parts))
    t.match(form, { image: { kind: 'bytes', image: { type: 'jpeg', byteLength: jpeg.length } } })
    t.strictSame((form as ReceivedForm).fields, { prompt: 'a grey cat, größer', overlay_mask: 'True' })
    t.equal((form as ReceivedForm).uploadBytes, jpeg.length + Buffer.byteLength('a grey cat, größer') + 4)
  }
})

t.test('an image is accepted in every form that clients send', async t => {
  const { send } = await reception(t)
  const digest = 'cd'.repeat(32)
  const base64 = jpeg.toString('base64')
  const cases: [string, Buffer, object][] = [
    ['a file without a type, as Python sends it', file('image', jpeg), { kind: 'bytes' }],
    ['a file with a wrong type', file('image', jpeg, 'Content-Type: text/plain'), { kind: 'bytes' }],
    ['a file of unknown type', file('image', jpeg, 'Content-Type: application/octet-stream'), { kind: 'bytes' }],
    ['bytes without a file name', part(['Content-Disposition: form-data; name="image"'], jpeg), { kind: 'bytes' }],
    ['base64', text('image', base64), { kind: 'bytes' }],
    ['base64 with a type', text('image', base64, 'Content-Type: text/plain; charset=utf-8'), { kind: 'bytes' }],
    ['a data: URI', text('image', `data:image/jpeg;base64,${base64}`), { kind: 'bytes' }],
    ['a URL', text('image', 'https://example.com/a.jpg'), { kind: 'url', url: 'https://example.com/a.jpg' }],
    ['an id', text('image', `sha256:${digest}`), { kind: 'id', digest }],
  ]
  for (const [name, sent, expected] of cases) {
    const form = await send(body(sent, text('prompt', 'cat')))
    t.match(form, { image: expected }, name)
    if ('kind' in expected && expected.kind === 'bytes')
      t.match(form, { image: { image: { byteLength: jpeg.length } } }, name)
  }
})

t.test('a field declared as JSON is parsed', async t => {
  const { send } = await reception(t)
  const form = await send(body(image, text('coordinates', '[[1,2]]', 'Content-Type: application/json')))
  t.strictSame((form as ReceivedForm).fields, { coordinates: [[1, 2]] })
})

t.test('different prompts in a broken encoding never become the same prompt', async t => {
  const { send } = await reception(t)
  for (const bytes of ['gr\xf6\xdfer', 'gr\xe4\xdfer', 'cat\xff']) {
    const form = await send(body(image, text('prompt', '').subarray(0, -2), Buffer.from(`${bytes}\r\n`, 'latin1')))
    t.throws(() => parseParams((form as ReceivedForm).fields, { base64Default: false }), {
      code: 'invalid_parameter',
      message: /^prompt .*U\+FFFD/,
    })
  }
  const declared = part(
    ['Content-Disposition: form-data; name="prompt"', 'Content-Type: text/plain; charset=iso-8859-1'],
    Buffer.from('gr\xf6\xdfer', 'latin1'),
  )
  t.match(await send(body(image, declared)), { fields: { prompt: 'größer' } })
})

t.test('a part that the parser drops is read to its end, however large', async t => {
  const { send } = await reception(t)
  const large = Buffer.alloc(200_000, 'a')
  t.match(await send(body(part(['X-Odd: 1'], large), image)), { code: 'invalid_request', message: /Disposition/ })
  const many = Array(40).fill(text('prompt', 'cat'))
  t.match(await send(body(...many, file('image', large))), { code: 'invalid_request', message: /32 parts/ })
})

t.test('a form that cannot be accepted is refused with the right code', async t => {
  const { send } = await reception(t)
  const gif = Buffer.from('GIF89a\x01\0\x01\0\x80\0\0\xff\xfe', 'latin1')
  const tooLarge = Buffer.concat([jpeg, Buffer.alloc(limits.maxImageBytes)])
  const many = (count: number, each: Buffer): Buffer[] => Array(count).fill(each)
  const cases: [string, Buffer, string, RegExp][] = [
    ['an empty body', Buffer.alloc(0), 'missing_image', /image/],
    ['no parts', body(), 'missing_image', /image/],
    ['no image', body(text('prompt', 'cat')), 'missing_image', /image/],
    ['an empty file', body(file('image', '')), 'missing_image', /image/],
    [
      'no file chosen in a browser',
      body(
        part(
          ['Content-Disposition: form-data; name="image"; filename=""', 'Content-Type: application/octet-stream'],
          '',
        ),
      ),
      'missing_image',
      /image/,
    ],
    ['an empty text', body(text('image', ' ')), 'missing_image', /image/],
    ['a GIF', body(file('image', gif, 'Content-Type: image/gif')), 'unsupported_image', /JPEG, PNG or WebP/],
    ['a GIF named as a JPEG', body(file('image', gif, 'Content-Type: image/jpeg')), 'unsupported_image', /JPEG/],
    [
      'a GIF without a file name',
      body(part(['Content-Disposition: form-data; name="image"'], gif)),
      'unsupported_image',
      /JPEG/,
    ],
    ['a file that holds base64', body(file('image', jpeg.toString('base64'))), 'unsupported_image', /file/],
    [
      'a file that holds a data: URI',
      body(file('image', 'data:image/png;base64,AAAA', 'Content-Type: text/plain')),
      'unsupported_image',
      /file/,
    ],
    ['a text that is no image', body(text('image', 'photo.jpg')), 'invalid_parameter', /^image takes/],
    ['a file URL', body(text('image', 'file:///etc/passwd')), 'image_url_refused', /http/],
    ['too many bytes', body(file('image', tooLarge)), 'image_too_large', /50000 bytes/],
    ['too many bytes as text', body(text('image', tooLarge.toString('base64'))), 'image_too_large', /50000 bytes/],
    [
      'much more than too many bytes',
      body(file('image', Buffer.alloc(3 * maxUploadBytes(limits)))),
      'image_too_large',
      /50000 bytes/,
    ],
    [
      'a text in base64',
      body(image, part(['Content-Disposition: form-data; name="prompt"', 'Content-Transfer-Encoding: base64'], 'Y2F0')),
      'invalid_parameter',
      /^prompt has the Content-Transfer-Encoding "base64"/,
    ],
    [
      'a file in quoted-printable',
      body(file('image', jpeg, 'Content-Transfer-Encoding: quoted-printable')),
      'invalid_parameter',
      /^image has the Content-Transfer-Encoding/,
    ],
    [
      'points as repeated fields',
      body(image, text('coordinates', '1'), text('coordinates', '2')),
      'invalid_request',
      /repeated field "coordinates".*json\.dumps\(points\)/,
    ],
    ['an unknown field', body(image, text('seed', '1')), 'invalid_request', /unknown field "seed"/],
    ['an unknown file', body(file('picture', jpeg)), 'invalid_request', /unknown field "picture"/],
    ['an unknown file before the image', body(file('mask', jpeg), image), 'invalid_request', /unknown field "mask"/],
    ['several unknown fields', body(text('a', ''), image, text('b', '')), 'invalid_request', /"a", "b"/],
    [
      'a field without a name',
      body(image, part(['Content-Disposition: form-data'], 'x')),
      'invalid_request',
      /without a name/,
    ],
    [
      'a repeated field',
      body(text('prompt', 'a'), image, text('prompt', 'a')),
      'invalid_request',
      /repeated field "prompt"/,
    ],
    ['two images', body(image, text('prompt', 'a'), image), 'invalid_request', /repeated field "image"/],
    [
      'an image as file and as text',
      body(image, text('image', 'https://example.com')),
      'invalid_request',
      /repeated field "image"/,
    ],
    ['a field named __proto__', body(text('__proto__', 'a'), image), 'invalid_request', /unknown field "__proto__"/],
    ['a file named constructor', body(file('constructor', jpeg), image), 'invalid_request', /field "constructor"/],
    [
      'a field that every object has, beside others',
      body(text('a', ''), image, text('toString', 'x'), text('prompt', ''), text('prompt', '')),
      'invalid_request',
      /unknown field "toString", "a" and repeated field "prompt"/,
    ],
    [
      'a field named hasOwnProperty and nothing else',
      body(text('hasOwnProperty', 'a')),
      'invalid_request',
      /"hasOwnProperty"/,
    ],
    ['a part without headers', body(image, part([], 'x')), 'invalid_request', /Content-Disposition/],
    [
      'a part of another disposition',
      body(image, part(['Content-Disposition: attachment; name="prompt"'], 'x')),
      'invalid_request',
      /Content-Disposition/,
    ],
    ['an image behind many headers', body(text('prompt', 'cat'), behind(imageHeader, 40)), 'invalid_request', /first/],
    [
      'an image after a long header',
      body(text('prompt', 'cat'), part([`X-Long: ${'x'.repeat(200_000)}`, imageHeader], jpeg)),
      'invalid_request',
      /first headers/,
    ],
    ['a part whose headers never end', body(image, Buffer.from('--XX\r\n')), 'invalid_request', /Content-Disposition/],
    ['a name in a broken encoding', body(image, latin1Named), 'invalid_request', /"pr\ufffdmpt"/],
    ['a prompt as a file', body(file('prompt', 'cat'), image), 'invalid_parameter', /^prompt takes text/],
    [
      'a field that is too long',
      body(text('prompt', 'a'.repeat(70_000)), image),
      'invalid_parameter',
      /^prompt is longer than the limit of 65536 bytes/,
    ],
    [
      'a field declared as JSON that is not valid',
      body(text('coordinates', '[1,', 'Content-Type: application/json'), image),
      'invalid_request',
      /not valid JSON/,
    ],
    ['too many fields', body(...many(40, text('prompt', 'a')), image), 'invalid_request', /more than 32 parts/],
    ['too many files', body(...many(40, image)), 'invalid_request', /more than 32 parts/],
  ]
  for (const [name, payload, code, message] of cases) {
    t.match(await send(payload), { name: 'GatewayError', code, message }, name)
  }
})

t.test('a content type without a boundary is refused', async t => {
  const { send } = await reception(t)
  t.match(await send(body(image), 'multipart/form-data'), { code: 'invalid_request', message: /has no boundary/ })
})

t.test('a body cut off anywhere is refused and never accepted as a smaller one', async t => {
  const { send } = await reception(t)
  const whole = body(text('prompt', 'cat'), image, text('base64', 'true'))
  const lastBoundary = whole.length - '--XX--\r\n'.length
  const wrong: number[] = []
  for (let cut = 1; cut < lastBoundary + '--XX--'.length; cut += cut > 300 && cut < whole.length - 300 ? 41 : 3) {
    const outcome = await send(whole.subarray(0, cut))
    if (!(outcome instanceof GatewayError) || outcome.code !== 'invalid_request') wrong.push(cut)
  }
  t.same(wrong, [])
})

t.test('a body with bytes changed, removed or added is read or refused, and the next one is read', async t => {
  const { send } = await reception(t)
  const whole = body(text('prompt', 'cat', 'Content-Type: text/plain; charset=utf-8'), image, text('base64', 'true'))
  const special = Buffer.from('\r\n-";=:, \0\\%\'*')
  const allowed = new Set(['invalid_request', 'missing_image', 'unsupported_image', 'invalid_parameter'])
  for (let seed = 1; seed <= 600; seed++) {
    const spot = (seed * 7919) % 2 === 0 ? (seed * 131) % 420 : whole.length - 1 - ((seed * 137) % 120)
    const insert = seed % 3 === 0 ? [] : [special[seed % special.length] as number]
    const changed = Buffer.concat([whole.subarray(0, spot), Buffer.from(insert), whole.subarray(spot + (seed % 4))])
    const outcome = await send(changed)
    if (outcome instanceof Error && !allowed.has((outcome as GatewayError).code)) t.fail(`seed ${seed}: ${outcome}`)
  }
  t.match(await send(whole), { image: { kind: 'bytes' } })
})

t.test('a refused body is drained, so that the connection can serve the next request', async t => {
  const { app, outcomes } = await reception(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  let connections = 0
  app.server.on('connection', () => connections++)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const post = async (payload: Buffer): Promise<void> => {
    const headers = { 'content-type': 'multipart/form-data; boundary=XX', 'content-length': payload.length }
    const sent = httpRequest({ host: '127.0.0.1', port, method: 'POST', path: '/', agent, headers })
    sent.end(payload)
    const [response] = await once(sent, 'response')
    response.resume()
    await once(response, 'end')
  }
  const large = Buffer.alloc(100_000, 1)
  await post(body(text('seed', '1'), file('image', large)))
  await post(body(file('mask', large), file('image', large), text('prompt', 'cat')))
  await post(body(file('image', large), text('prompt', 'cat')))
  await post(body(image))
  t.same(
    outcomes.map(outcome => (outcome instanceof GatewayError ? outcome.code : 'received')),
    ['invalid_request', 'invalid_request', 'image_too_large', 'received'],
  )
  t.equal(connections, 1)
})

t.test('a sender that disconnects in the middle of the image ends the upload', async t => {
  let settled = (): void => {}
  const outcome = new Promise<void>(resolve => {
    settled = resolve
  })
  const { app, outcomes } = await reception(t, settled)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const whole = body(image)
  const headers = { 'content-type': 'multipart/form-data; boundary=XX', 'content-length': whole.length }
  const sent = httpRequest({ host: '127.0.0.1', port, method: 'POST', path: '/', headers })
  sent.on('error', () => {})
  app.server.once('request', request => request.once('data', () => sent.destroy()))
  sent.write(whole.subarray(0, 500))
  await outcome
  t.match(outcomes[0], { code: 'invalid_request' })
})

t.test('an error of the parser becomes invalid_request with the cause for the log', async t => {
  const cause = new Error('Unexpected end of multipart data')
  const broken = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(cause) }) }
  await t.rejects(receiveMultipart(of(broken), limits), { code: 'invalid_request', cause })
})

t.test('a GatewayError thrown during the upload is passed on', async t => {
  const late = new GatewayError('upload_timeout', 'too slow')
  const slow = { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(late) }) }
  t.equal(await receiveMultipart(of(slow), limits).catch((error: unknown) => error), late)
})

t.test('a body without an end is aborted, whatever it carries', async t => {
  const { app, outcomes } = await reception(t)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const heads = {
    'a file': '--XX\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n',
    'a file without a name': '--XX\r\ncontent-type: image/jpeg\r\n\r\n',
    'a text': '--XX\r\ncontent-disposition: form-data; name="prompt"\r\n\r\n',
    'a preamble': 'no delimiter',
    'an epilogue': '--XX--\r\n',
  }
  const block = Buffer.alloc(10_000, 'x')
  for (const [name, head] of Object.entries(heads)) {
    const headers = { 'content-type': 'multipart/form-data; boundary=XX' }
    const sent = httpRequest({ host: '127.0.0.1', port, method: 'POST', path: '/', headers })
    sent.on('error', () => {})
    let isAnswered = false
    const answered = once(sent, 'response').then(() => {
      isAnswered = true
    })
    sent.write(head)
    while (!isAnswered) {
      sent.write(block)
      await new Promise(resolve => setImmediate(resolve))
    }
    await answered
    sent.destroy()
    t.match(outcomes.at(-1), { code: 'image_too_large' }, name)
  }
})
