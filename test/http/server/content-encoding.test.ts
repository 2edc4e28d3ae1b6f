import t from 'tap'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { connectTo } from '../../support/gateway/raw-client.js'

const ADMIN_KEY = 'the-operators-own-key'
const gateway = await startTestGateway({ env: { ADMIN_KEY } })
t.teardown(gateway.stop)

/** Sends headers that announce a body which never arrives. Returns the response. */
async function announce(requestLine: string, fields: string): Promise<string> {
  const client = await connectTo(gateway.url)
  client.send(`${requestLine} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${fields}\r\n\r\n`)
  const answer = await client.until(/\r\n\r\n.*\}$/s)
  client.destroy()
  return answer
}

t.test('a compressed body is refused before any of it is read', async t => {
  const team = `x-api-key: ${gateway.key}\r\ncontent-length: 1000`
  const admin = `x-api-key: ${ADMIN_KEY}\r\ncontent-length: 1000`
  const rows: [requestLine: string, fields: string, status: number][] = [
    ['POST /segment', team, 415],
    ['POST /segment/batch', team, 415],
    ['POST /segment/quote', team, 415],
    ['POST /images', team, 415],
    ['POST /v1/sam-v2-image', team, 406],
    ['POST /v2/sam-v2-image', team, 406],
    ['POST /admin/teams/vision/keys', admin, 415],
    ['PUT /admin/teams/vision/budget/override', admin, 415],
    ['PUT /admin/usage/2026-01/closing', admin, 415],
  ]
  for (const [requestLine, fields, status] of rows) {
    for (const encoding of ['gzip', 'br', 'gzip, identity', 'unknown', 'GZIP\r\nexpect: 100-continue']) {
      const answer = await announce(requestLine, `${fields}\r\ncontent-encoding: ${encoding}`)
      t.match(answer, new RegExp(`^HTTP/1.1 ${status} `), `${requestLine} ${encoding}`)
      t.match(answer, '"code":"unsupported_content_type"', `${requestLine} ${encoding}`)
      if (status === 406) t.match(answer, /"error":"Invalid content type\. .*/, `${requestLine} ${encoding}`)
    }
  }
  const chunked = `x-api-key: ${gateway.key}\r\ntransfer-encoding: gzip, chunked`
  t.match(await announce('POST /segment', chunked), /^HTTP\/1\.1 415 .*"unsupported_content_type"/s)
})

t.test('the key and the path are checked before the coding', async t => {
  const fields = 'content-encoding: gzip\r\ncontent-length: 1000'
  t.match(await announce('POST /segment', fields), /^HTTP\/1\.1 401 /)
  t.match(await announce('POST /admin/nothing', fields), /^HTTP\/1\.1 401 /)
  t.match(await announce('POST /admin/nothing', `x-api-key: ${ADMIN_KEY}\r\n${fields}`), /^HTTP\/1\.1 404 /)
  t.match(await announce('POST /nothing', fields), /^HTTP\/1\.1 404 /)
})

t.test('identity is accepted, and a request without a body may name any coding', async t => {
  const identity = await gateway.segment({ prompt: 'dog' }, { headers: { 'content-encoding': 'Identity' } })
  t.equal(identity.status, 200)
  t.equal((await gateway.fetch('/usage', { headers: { 'content-encoding': 'gzip' } })).status, 200)
})
