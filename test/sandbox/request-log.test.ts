import t from 'tap'
import { startSandbox } from '../../src/sandbox/server.js'
import { createPlainSegmenter } from '../support/doubles/plain-segmenter.js'
import { discAndSquare } from './drawing.js'

const apiKey = 'SG_0123456789abcdef'
const PATH = '/inference-request/request-history'

interface Row {
  request_id: string
  model_status: string
  credits_deduction: number | null
  generation_url: string | null
}

t.test('the request history has a row for each call, as the triggers say', async t => {
  let now = Date.UTC(2026, 10, 22, 12)
  const sandbox = await startSandbox({ apiKey, segmenter: createPlainSegmenter(), now: () => now })
  t.teardown(() => sandbox.close())
  const image = (await discAndSquare()).toString('base64')
  const headers = { 'x-api-key': apiKey, 'content-type': 'application/json' }
  const buy = async (prompt: string) => {
    const body = JSON.stringify({ image, prompt })
    const answer = await fetch(`${sandbox.url}/v1/sam-v2-image`, { method: 'POST', headers, body })
    return {
      id: answer.headers.get('x-request-id'),
      cost: answer.headers.get('x-cost'),
      bytes: await answer.arrayBuffer(),
    }
  }
  const list = async (query = '') => {
    const answer = await fetch(`${sandbox.url}${PATH}${query}`, { headers })
    return ((await answer.json()) as { data: Row[] }).data
  }
  const plain = await buy('red ball')
  const late = await buy('ball sandbox:row=late')
  const missing = await buy('ball sandbox:row=missing')
  const open = await buy('ball sandbox:row=null')
  const doubled = await buy('ball sandbox:row=doubled')
  t.same(
    (await list()).map(row => row.request_id),
    [doubled.id, doubled.id, open.id, plain.id],
  )
  t.match((await list('?page=2&per_page=2'))[0], { request_id: open.id, credits_deduction: null })
  now += 60_000
  t.ok((await list()).some(row => row.request_id === late.id))
  t.notOk((await list()).some(row => row.request_id === missing.id))
  const one = (await (await fetch(`${sandbox.url}${PATH}/${plain.id}`, { headers })).json()) as Row
  t.match(one, { model_status: 'COMPLETED', credits_deduction: Number(plain.cost) })
  const picture = await fetch(one.generation_url ?? '')
  t.same(Buffer.from(await picture.arrayBuffer()), Buffer.from(plain.bytes))
  t.equal((await fetch(`${sandbox.url}${PATH}/none`, { headers })).status, 404)
  t.equal((await fetch(`${sandbox.url}${PATH}`)).status, 401)
})
