import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFile } from 'node:fs/promises'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

/** Bodies of the responses, as routes send them. */
const sent: unknown[] = []
const onApp = (message: unknown) => {
  const { fastify } = message as { fastify: FastifyInstance }
  fastify.addHook('onSend', async (_request, _reply, body) => void sent.push(body))
}
subscribe('fastify.initialization', onApp)
t.teardown(() => unsubscribe('fastify.initialization', onApp))

const gateway = await startTestGateway()
t.teardown(gateway.stop)

const PAGES = ['/', '/dashboard', '/docs', '/docs/', '/docs/errors', '/docs/runbook']
const DOCUMENTS = ['/openapi.yaml', '/docs/json', '/docs/yaml']
const FILES = ['/pages/theme.css', '/pages/docs.js', '/pages/vendor/swagger-ui-bundle.js', '/client/index.js']

t.test('every public response has its length, security headers and an entity tag', async t => {
  for (const path of [...PAGES, ...DOCUMENTS, ...FILES]) {
    const { status, headers, body } = await ask(gateway.url + path)
    t.equal(status, 200, path)
    t.equal(headers['content-length'], `${body.length}`, path)
    t.match(headers, { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' }, path)
    t.match(headers['content-security-policy'], "frame-ancestors 'none'", path)
    for (const known of [headers.etag, `W/${headers.etag}`, `"other", ${headers.etag}`, '*']) {
      const again = await ask(gateway.url + path, { headers: { 'if-none-match': `${known}` } })
      t.match(again, { status: 304, headers: { etag: headers.etag } }, `${path} ${known}`)
      t.equal(again.body.length, 0, path)
    }
    t.equal((await ask(gateway.url + path, { headers: { 'if-none-match': '"other"' } })).status, 200, path)
  }
})

t.test('a client gets the best compressed copy that it accepts', async t => {
  const file = await readFile('src/pages/theme.css')
  const rows: [accepted: string, coding: string | undefined, decode: (bytes: Buffer) => Buffer][] = [
    ['gzip, deflate, br', 'br', brotliDecompressSync],
    ['br;q=0, gzip', 'gzip', gunzipSync],
    ['deflate', undefined, bytes => bytes],
  ]
  const tags = new Set<unknown>()
  for (const [accepted, coding, decode] of rows) {
    const { headers, body } = await ask(`${gateway.url}/pages/theme.css`, { headers: { 'accept-encoding': accepted } })
    t.match(headers, { 'content-type': 'text/css; charset=utf-8', vary: 'accept-encoding' }, accepted)
    t.equal(headers['content-encoding'], coding, accepted)
    t.ok(decode(body).equals(file), accepted)
    tags.add(headers.etag)
  }
  t.equal(tags.size, rows.length, 'each copy has its own entity tag')
})

t.test('HEAD has the headers of GET', async t => {
  const [get, head] = [
    await ask(`${gateway.url}/pages/theme.css`),
    await ask(`${gateway.url}/pages/theme.css`, { method: 'HEAD' }),
  ]
  t.match(head, { status: 200, headers: { etag: get.headers.etag, 'content-length': get.headers['content-length'] } })
  t.equal(head.body.length, 0)
})

t.test('no file outside of the folders is served', async t => {
  for (const path of [
    '/pages/../package.json',
    '/pages/%2e%2e/main.js',
    '/pages/..%2fmain.js',
    '/client//etc/passwd',
  ]) {
    const { status } = await ask(gateway.url + path)
    t.ok(status === 400 || status === 404, `${path}: ${status}`)
  }
})

t.test('no response is made for one request: all share a buffer', async t => {
  for (const path of [...PAGES, ...DOCUMENTS, ...FILES]) {
    sent.length = 0
    for (let request = 0; request < 2; request++) await ask(gateway.url + path)
    t.ok(Buffer.isBuffer(sent[0]), path)
    t.equal(sent[1], sent[0], path)
  }
})
