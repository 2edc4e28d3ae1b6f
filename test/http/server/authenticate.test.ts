import t from 'tap'
import { startTestGateway } from '../../support/gateway/gateway.js'
import { ask } from '../../support/gateway/raw-client.js'

t.test('both forms of a key are accepted, and every other value gets the same refusal', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const { key } = gateway
  const rows: [what: string, headers: Record<string, string>, wanted: number][] = [
    ['x-api-key', { 'x-api-key': key }, 200],
    ['x-api-key with spaces around it', { 'x-api-key': ` ${key} ` }, 200],
    ['Bearer', { authorization: `Bearer ${key}` }, 200],
    ['bearer in lower case', { authorization: `bearer  ${key}` }, 200],
    ['an empty x-api-key beside Bearer', { 'x-api-key': '', authorization: `Bearer ${key}` }, 200],
    ['no key', {}, 401],
    ['a wrong key', { 'x-api-key': 'wrong' }, 401],
    [
      'a key with a changed last character',
      { 'x-api-key': `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}` },
      401,
    ],
    ['two keys', { 'x-api-key': `${key}, ${key}` }, 401],
    ['another scheme', { authorization: `Basic ${key}` }, 401],
    ['no scheme', { authorization: key }, 401],
    ['a wrong x-api-key beside a good Bearer', { 'x-api-key': 'wrong', authorization: `Bearer ${key}` }, 401],
  ]
  const refusals = new Set<string>()
  for (const [what, headers, wanted] of rows) {
    const answer = await ask(`${gateway.url}/usage`, { headers: { ...headers, 'x-request-id': 'same' } })
    t.equal(answer.status, wanted, what)
    if (wanted === 401) refusals.add(`${answer.headers['www-authenticate']} ${answer.body}`)
  }
  t.equal(refusals.size, 1, 'all refusals are identical')
  t.match([...refusals][0], /^Bearer /)
})
