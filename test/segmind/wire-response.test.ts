import { crc32 } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import { readBalance, readBill, readPicture } from '../../src/segmind/wire-response.js'

const BILLS: [title: string, headers: Record<string, string | string[]>, bill: object][] = [
  [
    'all three headers',
    { 'x-cost': '0.0017', 'x-remaining-credits': '0.0184921035', 'x-request-id': 'abc-1' },
    { cost: 1_700_000, remaining: 18_492_104, upstreamRequestId: 'abc-1' },
  ],
  ['none of them', { 'content-type': 'image/jpeg' }, {}],
  ['an exponent', { 'x-cost': '1.7e-3' }, { cost: 1_700_000 }],
  ['a cost of 0', { 'x-cost': '0' }, { cost: 0 }],
  ['a negative cost', { 'x-cost': '-0.0017' }, {}],
  ['garbage', { 'x-cost': '$0.0017', 'x-remaining-credits': 'unlimited', 'x-request-id': ' ' }, {}],
  ['empty headers', { 'x-cost': '', 'x-remaining-credits': '', 'x-request-id': '' }, {}],
  ['an account below 0', { 'x-remaining-credits': '-0.5' }, { remaining: -500_000_000 }],
  ['a header that came twice', { 'x-cost': ['0.0017', '0.0018'] }, { cost: 1_700_000 }],
  ['an id with spaces inside', { 'x-request-id': 'a b' }, {}],
  ['an id without end', { 'x-request-id': 'a'.repeat(129) }, {}],
]

for (const [title, headers, bill] of BILLS) {
  t.test(`a bill with ${title} omits what is unknown`, async t => {
    t.strictSame(readBill(headers), bill)
  })
}

const BALANCES: [body: string, remaining: number | undefined][] = [
  ['{"credits":0.0,"free-credits":0.0184921035}', 18_492_104],
  ['{"credits":0.1,"free-credits":0.2}', 300_000_000],
  ['{"credits":12.000000001,"free-credits":1e-9}', 12_000_000_002],
  ['{"credits":"3.5","free-credits":"0.25","plan":"free"}', 3_750_000_000],
  ['{"credits":3}', 3_000_000_000],
  ['{"free-credits":0}', 0],
  ['{"credits":2,"free-credits":null}', 2_000_000_000],
  ['{"credits":-0.25,"free-credits":0}', -250_000_000],
  ['{"credits":"lots","free-credits":1}', undefined],
  ['{"credits":true}', undefined],
  ['{"credits":null}', undefined],
  ['{"balance":3}', undefined],
  ['{}', undefined],
  ['[1,2]', undefined],
  ['null', undefined],
  ['3.5', undefined],
  ['<html>', undefined],
  ['', undefined],
]

for (const [body, remaining] of BALANCES) {
  t.test(`the balance in ${body || 'nothing'} is ${remaining ?? 'unknown'}`, async t => {
    t.equal(readBalance(body)?.remaining, remaining)
  })
}

const tiny = sharp({ create: { width: 3, height: 2, channels: 3, background: 'red' } })
const [JPEG, PNG, WEBP] = await Promise.all(
  (['jpeg', 'png', 'webp'] as const).map(type => tiny.toFormat(type).toBuffer()),
)
if (!JPEG || !PNG || !WEBP) throw new Error('sharp made no picture')
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

for (const [type, bytes] of PICTURES)
  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) {
    const cut = bytes.subarray(0, Math.floor(bytes.length * share))
    NO_PICTURES[`${type} cut at ${share}`] = cut
    NO_PICTURES[`${type} as base64 cut at ${share}`] = JSON.stringify({ image: cut.toString('base64') })
  }
// The width and the height in the header, with its check sum.
const empty = Buffer.from(PNG)
empty.fill(0, 16, 24)
empty.writeUInt32BE(crc32(empty.subarray(12, 29)), 29)
NO_PICTURES['a PNG of 0 × 0 pixels'] = empty
NO_PICTURES['the first bytes of a JPEG'] = Buffer.from('ffd8ffe000104a464946000101', 'hex')

for (const [what, body] of Object.entries(NO_PICTURES)) {
  t.test(`${what} gives no picture`, async t => {
    t.equal(readPicture(Buffer.from(body)), undefined)
  })
}

t.test('a large text that is almost base64 is rejected without delay', async t => {
  t.equal(readPicture(Buffer.from(`${'A '.repeat(4_000_000)}<`)), undefined)
})
