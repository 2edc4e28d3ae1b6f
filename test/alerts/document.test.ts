import { readFileSync } from 'node:fs'
import { Webhook } from 'standardwebhooks'
import t from 'tap'

const page = readFileSync('docs/alerts.md', 'utf8')

t.test('the documented signature check accepts signed messages and nothing else', async t => {
  const [, code = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? []
  const { isGenuine } = (await import(`data:text/javascript,${encodeURIComponent(code)}`)) as {
    isGenuine(headers: Record<string, string>, body: Buffer, secret: string): boolean
  }
  const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`
  const body = Buffer.from('{"text":"schöne Grüße"}')
  const sign = (at: number) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': `${Math.floor(at / 1000)}`,
    'webhook-signature': new Webhook(secret).sign('msg_1', new Date(at), body.toString()),
  })
  t.ok(isGenuine(sign(Date.now()), body, secret))
  t.notOk(isGenuine(sign(Date.now()), Buffer.from('{}'), secret))
  t.notOk(isGenuine(sign(Date.now() - 600_000), body, secret))
  t.notOk(isGenuine(sign(Date.now()), body, `whsec_${Buffer.alloc(32, 8).toString('base64')}`))
})

t.test('every type of alert is documented', async t => {
  const source = readFileSync('src/alerts/facts.ts', 'utf8')
  const [, types = ''] = /type AlertType =([^\n]*(?:\n {2}[^\n]*)*)/.exec(source) ?? []
  const names = [...types.matchAll(/'([a-z.]+)'/g)].map(([, name]) => name)
  t.equal(names.length, 6)
  for (const name of names) t.match(page, `| \`${name}\``)
})
