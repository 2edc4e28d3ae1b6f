import t from 'tap'
import { maxUploadBytes } from '../../src/input/form.js'
import { receiveJson } from '../../src/input/json.js'
import { smallJpeg } from '../fixtures/odd-images.js'

const limits = { maxImageBytes: 100_000 }
const read = (body: string | Buffer) => receiveJson(Buffer.from(body), limits)
const manyMembers = Array.from({ length: 100 }, (_, index) => `"m${index}":1`).join()
const image = (await smallJpeg()).toString('base64')

t.test('the members of a JSON body are the fields of the form', async t => {
  const members = { prompt: 'cat', coordinates: [1, 2], remove_coordinates: '[[3,4]]', overlay_mask: false, base64: 1 }
  const text = JSON.stringify({ ...members, image })
  for (const body of [text, Buffer.from(text), `\ufeff${text}`, Buffer.from(`\ufeff${text}`), ` \n${text} `]) {
    const form = read(body)
    t.strictSame(form.fields, members)
    t.match(form.image, { kind: 'bytes', image: { type: 'jpeg' } })
    t.equal(form.uploadBytes, Buffer.byteLength(body))
  }
})

t.test('a member that is null counts as not given', async t => {
  const form = read(JSON.stringify({ image, prompt: null, coordinates: null }))
  t.strictSame(form.fields, {})
  t.throws(() => read('{"image":null}'), { code: 'missing_image' })
})

t.test('a body that cannot be read as a form is refused with the right code', async t => {
  const cases: [string, string | Buffer, string, RegExp][] = [
    ['nothing', '', 'invalid_request', /not valid JSON/],
    ['no JSON', 'prompt=cat', 'invalid_request', /not valid JSON/],
    ['cut JSON', `{"image":"${image}`, 'invalid_request', /not valid JSON/],
    ['two objects', '{}{}', 'invalid_request', /not valid JSON/],
    ['a list', '[]', 'invalid_request', /must be an object; it was a list/],
    ['a text', `"${image}"`, 'invalid_request', /must be an object; it was a string/],
    ['null', 'null', 'invalid_request', /must be an object; it was null/],
    ['bytes that are no UTF-8', Buffer.from('{"image":"\xff\xfe"}', 'latin1'), 'invalid_request', /UTF-8/],
    ['no image', '{"prompt":"cat"}', 'missing_image', /image/],
    ['an empty object', '{}', 'missing_image', /image/],
    ['an empty image', '{"image":""}', 'missing_image', /image/],
    ['an image as JavaScript sends a file', '{"image":{},"prompt":"cat"}', 'invalid_parameter', /^image .*an object/],
    ['an image as a list', '{"image":["/9j/"]}', 'invalid_parameter', /^image .*a list/],
    ['an image as a number', '{"image":1}', 'invalid_parameter', /^image .*a number/],
    ['an unknown member', `{"image":"${image}","seed":1}`, 'invalid_request', /unknown field "seed"/],
    ['an unknown member that is null', `{"image":"${image}","seed":null}`, 'invalid_request', /"seed"/],
    ['several unknown members', '{"a":1,"b":2,"constructor":3}', 'invalid_request', /"a", "b", "constructor"/],
    ['too many members', `{${manyMembers}}`, 'invalid_request', /more than 32 members/],
    ['too many levels', `{"a":${'['.repeat(50)}${']'.repeat(50)}}`, 'invalid_request', /more than 4 levels/],
    ['too many values', `{"coordinates":[${'[1,2],'.repeat(5000)}[1,2]]}`, 'invalid_request', /more than 4096/],
    ['a broken name before broken JSON', '{"\\x":1,', 'invalid_request', /not valid JSON/],
    ['a member of another case', '{"Image":""}', 'invalid_request', /"Image"/],
    [
      'a repeated member',
      `{"prompt":"a","image":"${image}","prompt":"a"}`,
      'invalid_request',
      /repeated field "prompt"/,
    ],
    ['a repeated image', `{"image":"${image}","image":"${image}"}`, 'invalid_request', /repeated field "image"/],
    ['a repeated member with an escape', `{"prompt":"a","\\u0070rompt":"b"}`, 'invalid_request', /"prompt"/],
    ['both', '{"a":1,"prompt":"a","prompt":"b"}', 'invalid_request', /unknown field "a" and repeated field "prompt"/],
    ['the prototype', '{"__proto__":{"prompt":"cat"}}', 'invalid_request', /"__proto__"/],
    ['what every object has', '{"toString":"x"}', 'invalid_request', /"toString"/],
  ]
  for (const [name, body, code, message] of cases) {
    t.throws(() => read(body), { name: 'GatewayError', code, message }, name)
  }
  t.equal(({} as { prompt?: string }).prompt, undefined, 'the prototype is unchanged')
})

t.test('the error of a body that is not JSON does not quote it', async t => {
  t.throws(() => read(`{"image":"${image}`), { message: /^The body is not valid JSON\.$/ })
})

t.test('an image of the largest size fits into the largest body in every notation', async t => {
  const { maxImageBytes } = limits
  const bytes = Buffer.alloc(maxImageBytes, 0xff)
  Buffer.from([0xff, 0xd8, 0xff]).copy(bytes)
  const mime = bytes.toString('base64').replace(/.{64}/g, '$&\r\n')
  const body = JSON.stringify({ image: `data:image/jpeg;base64,${mime}`, prompt: '\u0001'.repeat(1000) }).replaceAll(
    '/',
    '\\/',
  )
  // Every base64 character of this picture is a slash; usually one in 64 is.
  const slashes = body.split('\\/').length - 1
  t.ok(body.length - slashes + maxImageBytes / 48 <= maxUploadBytes({ maxImageBytes }))
  t.match(read(body).image, { image: { byteLength: maxImageBytes } })
})

const LONG = { maxImageBytes: 100_000 }
const picture = Buffer.alloc(50_000, 'every byte of it')
Buffer.from([0xff, 0xd8, 0xff]).copy(picture)
const base64 = picture.toString('base64')

t.test('a large image is the same in every notation of JSON', async t => {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  const notations: Record<string, string> = {
    plain: base64,
    'escaped slashes': base64.replaceAll('/', '\\/'),
    'escapes by code': base64.replace(/[+/=A]/g, escaped),
    'escapes by code in capitals': base64.replace(/[+/=o]/g, character =>
      escaped(character).toUpperCase().replace('U', 'u'),
    ),
    'line breaks': base64.replace(/.{64}/g, '$&\\r\\n'),
    'a data: URI': `data:image\\/jpeg;base64,${base64}`,
    'blanks around': `\\n ${base64} \\t`,
  }
  for (const [name, text] of Object.entries(notations)) {
    for (const json of [`{"image":"${text}","prompt":"cat"}`, `{"prompt" : "cat", "image" : "${text}" }`]) {
      const form = receiveJson(Buffer.from(json), LONG)
      t.same(form.fields, { prompt: 'cat' }, name)
      if (form.image.kind !== 'bytes') throw new Error(name)
      t.ok(Buffer.concat(form.image.image.chunks).equals(picture), name)
      t.equal(form.uploadBytes, json.length, name)
    }
  }
})

t.test('a large image takes no memory beside its body', async t => {
  const body = Buffer.from(`{"image":"${base64}"}`)
  const { image } = receiveJson(body, LONG)
  if (image.kind !== 'bytes') throw new Error('no image')
  for (const chunk of image.image.chunks) t.equal(chunk.buffer, body.buffer)
})

t.test('a large image in broken JSON, or that is no image, is refused', async t => {
  const cases: [string, string, string][] = [
    ['a line break', `{"image":"${base64}\n"}`, 'invalid_request'],
    ['an unknown escape', `{"image":"${base64}\\x"}`, 'invalid_request'],
    ['a cut escape', `{"image":"${base64}\\u00"}`, 'invalid_request'],
    ['an unended text', `{"image":"${base64}`, 'invalid_request'],
    ['garbage behind it', `{"image":"${base64}"}x`, 'invalid_request'],
    ['an escape beyond ASCII', `{"image":"${base64}\\u20ac"}`, 'invalid_parameter'],
    ['a character beyond ASCII', `{"image":"${base64}€"}`, 'invalid_parameter'],
    ['a long URL', `{"image":"http://${base64}"}`, 'invalid_parameter'],
    ['a long id', `{"image":"sha256:${base64}"}`, 'invalid_parameter'],
    ['a repeated image', `{"image":"${base64}","image":"${image}"}`, 'invalid_request'],
  ]
  for (const [name, json, code] of cases) t.throws(() => receiveJson(Buffer.from(json), LONG), { code }, name)
})
