import { gunzipSync } from 'node:zlib'
import fastify from 'fastify'
import t from 'tap'
import { sendGzip } from '../../../src/http/server/gzip.js'

const VALUE = { minutes: Array.from({ length: 200 }, (_, at) => ({ at, name: 'Müller' })) }

async function ask(acceptEncoding?: string) {
  const app = fastify()
  app.get('/', (request, reply) => sendGzip(request, reply, VALUE))
  const answer = await app.inject({ url: '/', headers: acceptEncoding ? { 'accept-encoding': acceptEncoding } : {} })
  await app.close()
  return answer
}

t.test('a client that accepts gzip gets a compressed response', async t => {
  for (const accepted of ['gzip', 'gzip, deflate, br', 'br;q=1.0, gzip;q=0.8', 'deflate,gzip;q=1']) {
    const { headers, rawPayload } = await ask(accepted)
    t.match(headers, { 'content-encoding': 'gzip', vary: 'accept-encoding' }, accepted)
    t.match(headers, { 'content-type': 'application/json; charset=utf-8', 'content-length': `${rawPayload.length}` })
    t.ok(rawPayload.length < JSON.stringify(VALUE).length / 5)
    t.strictSame(JSON.parse(gunzipSync(rawPayload).toString()), VALUE)
  }
})

t.test('a client that does not accept gzip gets a plain response', async t => {
  for (const accepted of [undefined, 'identity', 'gzip;q=0', 'br, gzip;q=0.0', 'x-gzip-like']) {
    const { headers, payload } = await ask(accepted)
    t.equal(headers['content-encoding'], undefined, `${accepted}`)
    t.equal(headers.vary, 'accept-encoding')
    t.strictSame(JSON.parse(payload), VALUE)
  }
})
