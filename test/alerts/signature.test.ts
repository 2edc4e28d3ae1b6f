import t from 'tap'
import { signatureHeaders } from '../../src/alerts/signature.js'
import { isSigned } from './receiver.js'

t.test('the published example is signed as published', async t => {
  const body = '{"event_type":"ping","data":{"success":true}}'
  const secret = 'whsec_plJ3nmyCDGBKInavdOK15jsl'
  t.strictSame(signatureHeaders({ id: 'msg_loFOjxBNrRLzqYUf', at: 1_731_705_121_000, body, secret }), {
    'webhook-id': 'msg_loFOjxBNrRLzqYUf',
    'webhook-timestamp': '1731705121',
    'webhook-signature': 'v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=',
  })
})

t.test('the time is told in whole seconds that have begun', async t => {
  const headers = signatureHeaders({ id: 'a', at: 1_731_705_121_999, body: '', secret: 'whsec_AAAA' })
  t.equal(headers['webhook-timestamp'], '1731705121')
})

t.test(
  'a receiver sees when anything was changed, and letters of every alphabet are signed as they are sent',
  async t => {
    const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
    const body = '{"text":"leer um 23:40 – schöne Grüße 🚨"}'
    const headers = signatureHeaders({ id: 'msg_1', at: 1000, body, secret })
    t.ok(await isSigned({ headers, body }, secret))
    t.notOk(await isSigned({ headers, body: body.replace('23', '22') }, secret))
    t.notOk(await isSigned({ headers: { ...headers, 'webhook-timestamp': '2' }, body }, secret))
    t.notOk(await isSigned({ headers: { ...headers, 'webhook-id': 'msg_2' }, body }, secret))
    t.notOk(await isSigned({ headers, body }, `whsec_${Buffer.alloc(32, 8).toString('base64')}`))
  },
)
