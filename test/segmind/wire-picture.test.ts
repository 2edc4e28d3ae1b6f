import t from 'tap'
import { readPicture } from '../../src/segmind/wire-picture.js'

const JPEG = Buffer.from('ffd8ffe000104a464946000101', 'hex')
const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex')
const WEBP = Buffer.concat([Buffer.from('RIFF'), Buffer.from([4, 1, 0, 0]), Buffer.from('WEBPVP8 ')])
const PICTURES = [
  ['image/jpeg', JPEG],
  ['image/png', PNG],
  ['image/webp', WEBP],
] as const

const FORMS: Record<string, (bytes: Buffer) => Buffer | string> = {
  'raw bytes': bytes => bytes,
  'JSON with an image': bytes => JSON.stringify({ image: bytes.toString('base64') }),
  'JSON with an image as a data: URI': bytes =>
    JSON.stringify({ status: 'ok', image: `data:image/jpeg;base64,${bytes.toString('base64')}` }),
  'JSON with escaped slashes': bytes => `{"image":"${bytes.toString('base64').replaceAll('/', '\\/')}"}`,
  'a JSON string': bytes => JSON.stringify(bytes.toString('base64')),
  'a JSON string with a data: URI': bytes => JSON.stringify(`data:image/png;base64,${bytes.toString('base64')}`),
  'bare base64': bytes => `${bytes.toString('base64')}\n`,
  'bare base64 in lines': bytes => bytes.toString('base64').replace(/(.{8})/g, '$1\r\n'),
  'bare base64 without padding': bytes => bytes.toString('base64').replace(/=+$/, ''),
  'bare base64 in the URL alphabet': bytes => bytes.toString('base64url'),
  'a bare data: URI': bytes => `data:image/webp;base64,${bytes.toString('base64')}`,
}

for (const [form, write] of Object.entries(FORMS)) {
  t.test(`a picture sent as ${form} is read with the type of its bytes`, async t => {
    for (const [contentType, bytes] of PICTURES) {
      const picture = readPicture(Buffer.from(write(bytes)))
      t.equal(picture?.contentType, contentType)
      t.ok(picture?.body.equals(bytes), `${contentType}: the bytes`)
    }
  })
}

const NO_PICTURES: Record<string, string | Buffer> = {
  nothing: '',
  blanks: '  \n',
  HTML: '<!doctype html><html><body>busy</body></html>',
  'a GIF': 'GIF89a\x01\x00',
  'JSON null': 'null',
  'JSON without an image': '{"status":"QUEUED"}',
  'JSON with an empty image': '{"image":""}',
  'JSON with an image object': '{"image":{"url":"x"}}',
  'JSON that is cut off': '{"image":"/9j/4AAQ',
  'a JSON list': '["/9j/4AAQ"]',
  'base64 of plain text': Buffer.from('hello world').toString('base64'),
  'base64 followed by HTML': '/9j/4AAQ<html>',
  'RIFF other than WebP': 'RIFF....AVI LIST',
  'the URL of a picture': 'https://example.com/picture.jpg',
}

for (const [what, body] of Object.entries(NO_PICTURES)) {
  t.test(`${what} gives no picture`, async t => {
    t.equal(readPicture(Buffer.from(body)), undefined)
  })
}

t.test('a large text that is almost base64 is rejected without delay', async t => {
  t.equal(readPicture(Buffer.from(`${'A '.repeat(4_000_000)}<`)), undefined)
})
