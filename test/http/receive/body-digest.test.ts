import { createHash } from 'node:crypto'
import t from 'tap'
import { createDigestCheck, readDigests } from '../../../src/http/receive/body-digest.js'

const digest = (text: string, algorithm = 'sha256') => createHash(algorithm).update(text).digest('base64')
const of = (text: string) => `sha-256=:${digest(text)}:`

t.test('digests are read from both headers, and unknown algorithms are ignored', async t => {
  t.strictSame([...readDigests({}).keys()], [])
  t.strictSame([...readDigests({ 'content-digest': of('a') }).keys()], ['sha-256'])
  t.strictSame([...readDigests({ 'repr-digest': `sha-512=:${digest('a', 'sha512')}:` }).keys()], ['sha-512'])
  t.strictSame([...readDigests({ 'content-digest': `md5=:AAAA:, ${of('a')}, unixsum=:30637:` }).keys()], ['sha-256'])
  t.equal(readDigests({ 'content-digest': of('a'), 'repr-digest': of('a') }).size, 1)
})

t.test('an invalid digest is refused with the name of its header', async t => {
  const rows: [Record<string, string>, RegExp][] = [
    [{ 'content-digest': 'sha-256=abc' }, /Content-Digest|content-digest/],
    [{ 'repr-digest': 'sha-256=:AAAA:' }, /repr-digest/],
    [{ 'content-digest': digest('a') }, /content-digest/],
    [{ 'content-digest': of('a'), 'repr-digest': of('b') }, /contradict/],
  ]
  for (const [headers, message] of rows) t.throws(() => readDigests(headers), { code: 'invalid_request', message })
})

t.test('a body is compared with every digest that was sent', async t => {
  const expected = readDigests({ 'content-digest': `${of('hello')}, sha-512=:${digest('hello', 'sha512')}:` })
  const good = createDigestCheck(expected)
  good.add(Buffer.from('hel'))
  good.add(Buffer.from('lo'))
  t.equal(good.finish(), createHash('sha256').update('hello').digest('hex'))
  const bad = createDigestCheck(expected)
  bad.add(Buffer.from('help'))
  t.throws(() => bad.finish(), { code: 'invalid_request', message: /sha-256/ })
  const half = createDigestCheck(readDigests({ 'repr-digest': `sha-512=:${digest('x', 'sha512')}:` }))
  half.add(Buffer.from('x'))
  t.equal(half.finish(), undefined, 'only a SHA-256 digest identifies a body')
})
