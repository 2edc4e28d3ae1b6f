import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { describeAttempt } from '../../src/alerts/attempt.js'
import { type Message, openWebhook, type WebhookOptions } from '../../src/alerts/webhook.js'
import { StoreError } from '../../src/contracts/store.js'
import { isSigned, stagedPauses, startReceiver } from './receiver.js'

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
const NOW = Date.parse('2026-11-27T10:00:00Z')
const MESSAGE: Message = {
  id: 'msg_1',
  type: 'credits.state',
  at: NOW - 5000,
  data: { state: 'empty' },
  text: 'Empty – schöne Grüße 🚨',
}

function open(t: Test, url: string, options: Partial<WebhookOptions> = {}) {
  const clock = { now: NOW }
  const staged = stagedPauses()
  const secret = async () => SECRET
  const webhook = openWebhook({ url, secret, now: () => clock.now, wait: staged.wait, ...options })
  t.teardown(() => webhook.close())
  return { webhook, clock, ...staged }
}

t.test('a message is posted once as signed JSON with a text for people', async t => {
  const receiver = await startReceiver(t)
  const { webhook, clock } = open(t, receiver.url)
  clock.now += 999
  t.match(await webhook.deliver(MESSAGE), { outcome: 'delivered', attempts: 1, last: { status: 200 } })
  const [request] = receiver.received
  t.equal(receiver.received.length, 1)
  t.equal(request?.path, '/services/T000/HIDDEN')
  t.strictSame(request?.message, {
    type: 'credits.state',
    timestamp: '2026-11-27T09:59:55.000Z',
    data: { state: 'empty' },
    text: MESSAGE.text,
  })
  t.match(request?.headers, {
    'content-type': 'application/json',
    'webhook-id': 'msg_1',
    'webhook-timestamp': `${NOW / 1000}`,
  })
  t.ok(await isSigned(request!, SECRET))
})

t.test('a failing receiver gets the same message again, signed for the time of each attempt', async t => {
  const hangUp = (request: { socket: { destroy(): void } }) => request.socket.destroy()
  const receiver = await startReceiver(t, [503, hangUp, 404, 302, 408])
  const retries: string[] = []
  const { webhook, clock, nth, pauses } = open(t, receiver.url)
  const delivered = webhook.deliver(MESSAGE, { onRetry: attempt => retries.push(describeAttempt(attempt)) })
  for (const number of [1, 2, 3, 4, 5]) {
    const pause = await nth(number)
    clock.now += pause.ms
    pause.end()
  }
  t.match(await delivered, { outcome: 'delivered', attempts: 6 })
  t.strictSame(
    pauses.map(({ ms }) => ms),
    [1_000, 5_000, 30_000, 120_000, 600_000],
  )
  t.match(retries, [/503/, /could not be reached \([A-Z_]+\)/, /404/, /302 Found/, /408/])
  t.equal(new Set(receiver.received.map(({ body }) => body)).size, 1)
  t.strictSame([...new Set(receiver.received.map(({ headers }) => headers['webhook-id']))], ['msg_1'])
  t.equal(receiver.received.at(-1)?.headers['webhook-timestamp'], `${NOW / 1000 + 756}`)
  for (const request of receiver.received) t.ok(await isSigned(request, SECRET))
})

t.test('a message is given up once no attempts are left', async t => {
  const receiver = await startReceiver(t)
  receiver.otherwise = 500
  const { webhook } = open(t, receiver.url, { wait: async () => {} })
  t.match(await webhook.deliver(MESSAGE), { outcome: 'given up', attempts: 6, last: { status: 500 } })
  t.match(await webhook.deliver(MESSAGE, { pausesMs: [] }), { outcome: 'given up', attempts: 1 })
})

t.test('410 ends the attempts at once', async t => {
  const receiver = await startReceiver(t, [410])
  const { webhook } = open(t, receiver.url)
  t.match(await webhook.deliver(MESSAGE), { outcome: 'given up', attempts: 1, last: { status: 410 } })
})

t.test('a redirect is not followed', async t => {
  const elsewhere = await startReceiver(t)
  const receiver = await startReceiver(t, [(_, answer) => answer.writeHead(307, { location: elsewhere.url }).end()])
  const { webhook } = open(t, receiver.url)
  t.match(await webhook.deliver(MESSAGE, { pausesMs: [] }), { outcome: 'given up', last: { status: 307 } })
  t.equal(elsewhere.received.length, 0)
})

t.test('Retry-After extends the pause up to a quarter of an hour', async t => {
  const respondWith = (status: number, seconds: string) => (_: unknown, answer: import('node:http').ServerResponse) =>
    void answer.writeHead(status, { 'retry-after': seconds }).end()
  const receiver = await startReceiver(t, [respondWith(429, '45'), respondWith(503, '999999'), respondWith(429, '0')])
  const { webhook, nth, pauses } = open(t, receiver.url)
  const delivered = webhook.deliver(MESSAGE)
  for (const number of [1, 2, 3]) (await nth(number)).end()
  t.match(await delivered, { outcome: 'delivered', attempts: 4 })
  t.strictSame(
    pauses.map(({ ms }) => ms),
    [45_000, 900_000, 30_000],
  )
})

t.test('a silent receiver times out after ten seconds', async t => {
  const silent = await startReceiver(t)
  silent.otherwise = () => {}
  const allowed: number[] = []
  const over = new AbortController()
  const deadline = (ms: number) => {
    allowed.push(ms)
    return over.signal
  }
  const { webhook } = open(t, silent.url, { deadline })
  const delivered = webhook.deliver(MESSAGE, { pausesMs: [] })
  await silent.until(1)
  over.abort(new DOMException('over', 'TimeoutError'))
  t.match(await delivered, { outcome: 'given up', last: { problem: 'timeout' } })
  t.strictSame(allowed, [10_000])
})

t.test('an endless response body is not read to its end', async t => {
  const receiver = await startReceiver(t, [
    (_, answer) => {
      answer.writeHead(200)
      const more = () => {
        while (!answer.destroyed && answer.write('x'.repeat(16_384)));
      }
      answer.on('drain', more)
      more()
      answer.on('close', () => closed())
    },
  ])
  let closed = () => {}
  const hungUp = new Promise<void>(resolve => {
    closed = resolve
  })
  const { webhook } = open(t, receiver.url, { deadline: () => new AbortController().signal })
  t.match(await webhook.deliver(MESSAGE), { outcome: 'delivered' })
  await hungUp
})

t.test('user and password of the address are sent as basic authentication', async t => {
  const receiver = await startReceiver(t)
  const { webhook } = open(t, receiver.url.replace('http://', 'http://ops:p%40ss@'))
  t.match(await webhook.deliver(MESSAGE), { outcome: 'delivered' })
  t.equal(receiver.received[0]?.headers.authorization, `Basic ${Buffer.from('ops:p@ss').toString('base64')}`)
})

t.test('a reported failure contains neither the path nor the secret', async t => {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  closed.close()
  await once(closed, 'close')
  for (const url of [
    `http://127.0.0.1:${port}/HIDDEN`,
    'http://HIDDEN.invalid/HIDDEN',
    'http://a:%E0%A4@127.0.0.1/HIDDEN',
  ]) {
    const { webhook } = open(t, url)
    const delivery = await webhook.deliver(MESSAGE, { pausesMs: [] })
    t.match(delivery, { outcome: 'given up', last: { problem: String } })
    t.notMatch(JSON.stringify(delivery), /HIDDEN|hidden|whsec|AQEB/)
  }
})

t.test('an unavailable secret is a failed attempt', async t => {
  const receiver = await startReceiver(t)
  let isDown = true
  const secret = async () => {
    if (isDown) throw new StoreError('Redis is down')
    return SECRET
  }
  const { webhook, nth } = open(t, receiver.url, { secret })
  const delivered = webhook.deliver(MESSAGE)
  const pause = await nth(1)
  t.equal(receiver.received.length, 0)
  isDown = false
  pause.end()
  t.match(await delivered, { outcome: 'delivered', attempts: 2 })
})

t.test('closing ends all pauses, and nothing is sent after it', async t => {
  const receiver = await startReceiver(t, [500])
  const { webhook, nth } = open(t, receiver.url)
  const delivered = webhook.deliver(MESSAGE)
  await nth(1)
  await webhook.close()
  t.match(await delivered, { outcome: 'stopped', attempts: 1, last: { status: 500 } })
  t.strictSame(await webhook.deliver(MESSAGE), { outcome: 'stopped', attempts: 0 })
  t.equal(receiver.received.length, 1)
})

t.test('closing waits for the current attempt', async t => {
  const receiver = await startReceiver(t)
  const held: (() => void)[] = []
  receiver.otherwise = (_, answer) => held.push(() => answer.writeHead(200).end())
  const { webhook } = open(t, receiver.url)
  const delivered = webhook.deliver(MESSAGE)
  await receiver.until(1)
  const closed = webhook.close()
  held[0]?.()
  t.match(await delivered, { outcome: 'delivered' })
  await closed
})

t.test('closing waits at most two seconds for the current attempt', async t => {
  const receiver = await startReceiver(t)
  receiver.otherwise = () => {}
  const allowed: { ms: number; end: AbortController }[] = []
  const deadline = (ms: number) => {
    const end = new AbortController()
    allowed.push({ ms, end })
    return end.signal
  }
  const { webhook } = open(t, receiver.url, { deadline })
  const delivered = webhook.deliver(MESSAGE)
  await receiver.until(1)
  const closed = webhook.close()
  t.equal(allowed[1]?.ms, 2_000)
  allowed[1]?.end.abort()
  await closed
  t.match(await delivered, { outcome: 'stopped', attempts: 1 })
})

t.test('a signal ends the attempts after the current one', async t => {
  const receiver = await startReceiver(t, [500])
  const lost = new AbortController()
  const { webhook, nth } = open(t, receiver.url)
  const delivered = webhook.deliver(MESSAGE, { signal: lost.signal })
  await nth(1)
  lost.abort()
  t.match(await delivered, { outcome: 'stopped', attempts: 1 })
  t.match(await webhook.deliver(MESSAGE), { outcome: 'delivered' })
})
