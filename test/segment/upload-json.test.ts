import t from 'tap'
import { maxUploadBytes } from '../../src/segment/upload.js'
import { receiveJson } from '../../src/segment/upload-json.js'
import { smallJpeg } from '../fixtures/odd-images.js'

const limits = { maxImageBytes: 100_000 }
const manyMembers = Array.from({ length: 100 }, (_, index) => `"m${index}":1`).join()
const image = (await smallJpeg()).toString('base64')

t.test('the members of a JSON body are the fields of the form', async t => {
  const members = { prompt: 'cat', coordinates: [1, 2], remove_coordinates: '[[3,4]]', overlay_mask: false, base64: 1 }
  const text = JSON.stringify({ ...members, image })
  for (const body of [text, Buffer.from(text), `\ufeff${text}`, Buffer.from(`\ufeff${text}`), ` \n${text} `]) {
    const form = receiveJson(body, limits)
    t.strictSame(form.fields, members)
    t.match(form.image, { kind: 'bytes', image: { type: 'jpeg' } })
    t.equal(form.uploadBytes, Buffer.byteLength(body))
  }
})

t.test('a member that is null was not given', async t => {
  const form = receiveJson(JSON.stringify({ image, prompt: null, coordinates: null }), limits)
  t.strictSame(form.fields, {})
  t.throws(() => receiveJson('{"image":null}', limits), { code: 'missing_image' })
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
    t.throws(() => receiveJson(body, limits), { name: 'GatewayError', code, message }, name)
  }
  t.equal(({} as { prompt?: string }).prompt, undefined, 'no prototype was changed')
})

t.test('the message of a body that is no JSON does not repeat it', async t => {
  t.throws(() => receiveJson(`{"image":"${image}`, limits), { message: /^The body is not valid JSON\.$/ })
})

t.test('an image of the largest size fits into the largest body in every writing', async t => {
  const { maxImageBytes } = limits
  const bytes = Buffer.alloc(maxImageBytes, 0xff)
  Buffer.from([0xff, 0xd8, 0xff]).copy(bytes)
  const mime = bytes.toString('base64').replace(/.{64}/g, '$&\r\n')
  const body = JSON.stringify({ image: `data:image/jpeg;base64,${mime}`, prompt: '\u0001'.repeat(1000) }).replaceAll(
    '/',
    '\\/',
  )
  // Every character of this picture is a slash, in others one of 64 is.
  const slashes = body.split('\\/').length - 1
  t.ok(body.length - slashes + maxImageBytes / 48 <= maxUploadBytes({ maxImageBytes }))
  t.match(receiveJson(body, limits).image, { image: { byteLength: maxImageBytes } })
})
