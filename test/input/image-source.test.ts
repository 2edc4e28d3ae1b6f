import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { GatewayError } from '../../src/contracts/errors.js'
import { imageFromText } from '../../src/input/image-source.js'
import { smallJpeg, smallPng, smallWebp } from '../fixtures/odd-images.js'

const MAX_IMAGE_BYTES = 100_000
const jpeg = await smallJpeg()
const base64 = jpeg.toString('base64')
const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const read = (text: string) => imageFromText(text, MAX_IMAGE_BYTES)
/** Bytes that begin like a JPEG and whose base64 has every character of the alphabet. */
const varied = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.from([...Array(256).keys()]), randomBytes(2000)])

t.test('every text form of an image gives the same image', async t => {
  const percent = [...jpeg].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')
  const cases: [string, string][] = [
    ['plain base64', base64],
    ['without padding', base64.replace(/=+$/, '')],
    ['with line breaks every 76 characters', base64.replace(/.{76}/g, '$&\r\n')],
    ['with many line breaks, and blanks around it', `\n \t${base64.replace(/.{5}/g, '$&\n\r\n')} \n`],
    ['the URL-safe alphabet', jpeg.toString('base64url')],
    ['a data: URI', `data:image/jpeg;base64,${base64}`],
    ['a data: URI of another type', `data:image/png;base64,${base64}`],
    ['a data: URI without a type', `data:;base64,${base64}`],
    ['a data: URI with a parameter', `data:image/jpeg;name=a.jpg;base64,${base64}`],
    ['a data: URI in capitals', `DATA:IMAGE/JPEG;BASE64,${base64}`],
    ['a data: URI of escaped base64', `data:image/jpeg;base64,${encodeURIComponent(base64)}`],
    ['a data: URI of base64 without padding', `data:image/jpeg;base64,${base64.replace(/=+$/, '')}`],
    ['a data: URI of base64 with line breaks', `data:image/jpeg;base64,${base64.replace(/.{60}/g, '$&\n')}`],
    ['a data: URI that is percent-encoded', `data:image/jpeg,${percent}`],
    ['a data: URI that is percent-encoded in capitals', `data:image/jpeg,${percent.toUpperCase()}`],
  ]
  for (const [name, text] of cases) {
    const source = read(text)
    if (source.kind !== 'bytes') throw new Error(name)
    t.equal(source.image.digest, digestOf(jpeg), name)
    t.same([source.image.type, source.image.byteLength], ['jpeg', jpeg.length], name)
    t.ok(Buffer.concat(source.image.chunks).equals(jpeg), name)
  }
})

t.test('base64 in both alphabets is decoded at every length', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 3, max: varied.length }),
      fc.constantFrom('base64', 'base64url'),
      (length, alphabet) => {
        const bytes = varied.subarray(0, length)
        const source = read(bytes.toString(alphabet as BufferEncoding))
        return source.kind === 'bytes' && source.image.digest === digestOf(bytes)
      },
    ),
  )
})

t.test('PNG and WebP are recognised by their bytes', async t => {
  for (const [type, bytes] of [
    ['png', await smallPng()],
    ['webp', await smallWebp()],
  ] as const) {
    t.match(read(bytes.toString('base64')), { kind: 'bytes', image: { type } })
  }
})

t.test('URLs and ids are recognised and passed on', async t => {
  const digest = 'ab'.repeat(32)
  t.same(read('https://example.com/a.jpg?x=1'), { kind: 'url', url: 'https://example.com/a.jpg?x=1' })
  t.same(read(' HTTP://example.com/ '), { kind: 'url', url: 'HTTP://example.com/' })
  t.same(read(`sha256:${digest}`), { kind: 'id', digest })
  t.same(read(`SHA256:${digest.toUpperCase()}\n`), { kind: 'id', digest })
})

t.test('a value in no accepted form is refused with the right code', async t => {
  const gif = Buffer.from('GIF89a, and more of it').toString('base64')
  const cases: [string, string, string][] = [
    ['nothing', '', 'missing_image'],
    ['blanks', ' \r\n\t', 'missing_image'],
    ['an empty data: URI', 'data:image/png;base64,', 'missing_image'],
    ['an empty data: URI in plain', 'data:,', 'missing_image'],
    ['a file name', 'photo.jpg', 'invalid_parameter'],
    ['a path', '/etc/passwd.jpg', 'invalid_parameter'],
    ['what JavaScript makes of an object', '[object Object]', 'invalid_parameter'],
    ['a blank where a + was', `${base64.slice(0, 100)} ${base64.slice(101)}`, 'invalid_parameter'],
    ['a tab at the end of a line', `${base64.slice(0, 99)}\t\n${base64.slice(100)}`, 'invalid_parameter'],
    ['a stray character in the middle', `${base64.slice(0, 100)}*${base64.slice(101)}`, 'invalid_parameter'],
    ['a stray character of two bytes', `${base64.slice(0, 100)}\u0141${base64.slice(101)}`, 'invalid_parameter'],
    ['a NUL', `${base64.slice(0, 100)}\0${base64.slice(101)}`, 'invalid_parameter'],
    ['padding in the middle', `${base64.slice(0, 100)}==${base64.slice(100)}`, 'invalid_parameter'],
    ['three characters of padding', `${base64.replace(/=+$/, '').slice(0, 401)}===`, 'invalid_parameter'],
    ['padding where none belongs', `${base64.slice(0, 400)}=`, 'invalid_parameter'],
    ['padding that is too short', `${base64.slice(0, 402)}=`, 'invalid_parameter'],
    ['only padding', '==', 'invalid_parameter'],
    ['a length that base64 cannot have', base64.slice(0, 401), 'invalid_parameter'],
    ['a data: URI without a comma', 'data:image/png;base64', 'invalid_parameter'],
    ['a data: URI whose comma never comes', `data:image/png;${'a'.repeat(2000)},x`, 'invalid_parameter'],
    ['a data: URI with broken base64', 'data:image/png;base64,a*b', 'invalid_parameter'],
    ['a data: URI with a broken escape', 'data:image/png,%zz', 'invalid_parameter'],
    ['a data: URI with an escape of one digit', 'data:image/png,%a', 'invalid_parameter'],
    ['a data: URI with an escape of the wrong letter', 'data:image/png,%4g', 'invalid_parameter'],
    ['a data: URI with half an escape', 'data:image/png,%4', 'invalid_parameter'],
    ['an id that is too short', `sha256:${'a'.repeat(63)}`, 'invalid_parameter'],
    ['an id that is too long', `sha256:${'a'.repeat(65)}`, 'invalid_parameter'],
    ['an id with a wrong digit', `sha256:${'g'.repeat(64)}`, 'invalid_parameter'],
    ['an unknown kind of id', `md5:${'a'.repeat(32)}`, 'invalid_parameter'],
    ['a URL without a host', 'https://', 'invalid_parameter'],
    ['a URL with a broken host', 'http://a b/', 'invalid_parameter'],
    ['a URL with U+FFFD', 'https://example.com/\ufffd.jpg', 'invalid_parameter'],
    ['a URL with half a surrogate pair', 'https://example.com/\ud800.jpg', 'invalid_parameter'],
    ['a URL that is too long', `https://example.com/${'a'.repeat(5000)}`, 'invalid_parameter'],
    ['a script', 'javascript:alert(1)', 'invalid_parameter'],
    ['a file URL', 'file:///etc/passwd', 'image_url_refused'],
    ['an ftp URL', 'ftp://example.com/a.jpg', 'image_url_refused'],
    ['a bucket', 's3://bucket/a.jpg', 'image_url_refused'],
    ['base64 of a GIF', gif, 'unsupported_image'],
    ['a data: URI of a GIF that says PNG', `data:image/png;base64,${gif}`, 'unsupported_image'],
    ['a data: URI of text', 'data:text/plain,hello', 'unsupported_image'],
    ['base64 inside base64', Buffer.from(base64).toString('base64'), 'unsupported_image'],
    ['too many bytes', Buffer.concat([jpeg, Buffer.alloc(MAX_IMAGE_BYTES)]).toString('base64'), 'image_too_large'],
    ['too many bytes, escaped', `data:image/jpeg,${'%ff'.repeat(MAX_IMAGE_BYTES + 1)}`, 'image_too_large'],
  ]
  for (const [name, text, code] of cases) {
    try {
      read(text)
      t.fail(name)
    } catch (error) {
      t.match(error, { name: 'GatewayError', code }, name)
      t.notMatch((error as GatewayError).message, base64.slice(0, 12), 'the detail does not quote the text')
    }
  }
})

t.test('the limit on bytes is inclusive', async t => {
  const exact = Buffer.concat([jpeg, Buffer.alloc(MAX_IMAGE_BYTES - jpeg.length)])
  t.match(read(exact.toString('base64')), { image: { byteLength: MAX_IMAGE_BYTES } })
  t.throws(() => read(Buffer.concat([exact, Buffer.from([0])]).toString('base64')), {
    code: 'image_too_large',
    message: /100000 bytes/,
  })
})

t.test('a refusal of a value names the field and the accepted forms', async t => {
  t.throws(() => read('photo.jpg'), { message: /^image takes .*file.*base64.*data:.*URL.*sha256:/ })
})

t.test('no text makes the parser throw anything but a GatewayError', async () => {
  const prefix = fc.constantFrom(
    '',
    'data:',
    'data:;base64,',
    'data:,',
    'http://',
    'https://',
    'sha256:',
    'file:',
    '/9j/',
  )
  fc.assert(
    fc.property(prefix, fc.string({ unit: 'binary' }), (start, rest) => {
      try {
        read(start + rest)
        return true
      } catch (error) {
        return (error as Error).name === 'GatewayError'
      }
    }),
    { numRuns: 1000 },
  )
})

t.test('a mistake of a tool is named, with what to do', async t => {
  const cases: [string, RegExp][] = [
    ['photo.jpg', /the name of a file.*-F image=@photo\.jpg/],
    ['cup.heic', /the name of a file/],
    ['[object File]', /the text of a JavaScript object/],
    ['ab'.repeat(32), /64 hex digits without sha256:/],
    ['some other text', /in none of these forms/],
    ['C:\\Users\\me\\Ärmel.PNG', /the name of a file/],
    [`${base64.slice(0, 100)} ${base64.slice(101)}`, /base64 text with blanks inside\. A \+ becomes a blank/],
  ]
  for (const [text, pattern] of cases) t.throws(() => read(text), { message: pattern }, text.slice(0, 20))
})
