import t from 'tap'
import { UploadBudget } from '../../src/http/upload-budget.js'
import { startTestGateway } from '../support/gateway.js'
import { ask, connectTo } from '../support/raw-client.js'

function deferred() {
  let end = { resolve: () => {}, reject: (_error: Error) => {} }
  const promise = new Promise<void>((resolve, reject) => {
    end = { resolve, reject }
  })
  return { promise, ...end }
}

t.test('uploads are held within the budget, and given back once', t => {
  const budget = new UploadBudget(100)
  const first = budget.hold(60)
  const second = budget.hold(40)
  t.throws(() => budget.hold(1), { code: 'overloaded', retryAfterSeconds: 1 })
  first.release()
  first.release()
  t.equal(budget.heldBytes, 40)
  t.throws(() => budget.hold(61), { code: 'overloaded' })
  const third = budget.hold(60)
  second.release()
  third.release()
  t.equal(budget.heldBytes, 0)
  t.end()
})

t.test('an upload larger than the whole budget is taken when it is alone, or it would never be', t => {
  const budget = new UploadBudget(100)
  const alone = budget.hold(101)
  t.throws(() => budget.hold(1), { code: 'overloaded' })
  alone.release()
  t.doesNotThrow(() => budget.hold(1))
  t.end()
})

t.test('a booking follows what is needed, and lasts as long as any work with it', async t => {
  const budget = new UploadBudget(100)
  const other = budget.hold(30)
  const hold = budget.hold(40)
  hold.resize(70)
  t.throws(() => hold.resize(71), { code: 'overloaded' })
  t.equal(budget.heldBytes, 100, 'a refusal changes nothing')
  hold.resize(10)
  t.equal(budget.heldBytes, 40)
  other.release()
  hold.resize(500)
  t.equal(budget.heldBytes, 500, 'alone it gets what it needs')

  const works = [deferred(), deferred()] as const
  for (const { promise } of works) hold.until(promise)
  hold.release()
  works[0].resolve()
  await works[0].promise
  t.equal(budget.heldBytes, 500)
  works[1].reject(new Error('work that fails has ended, too'))
  await works[1].promise.catch(() => {})
  t.equal(budget.heldBytes, 0)
  hold.resize(50)
  hold.until(works[0].promise)
  t.equal(budget.heldBytes, 0, 'what was given back stays so')
})

t.test('an upload that would not fit beside the others is refused before it is read', async t => {
  const gateway = await startTestGateway({ env: { MAX_IMAGE_BYTES: '100KiB', UPLOAD_MEMORY_BYTES: '1200KiB' } })
  t.teardown(gateway.stop)
  const begin = async (id: string, framing: string) => {
    const client = await connectTo(gateway.url)
    client.send(`POST /segment HTTP/1.1\r\nhost: x\r\nx-api-key: ${gateway.key}\r\nx-request-id: ${id}\r\n`)
    client.send(`content-type: application/json\r\nexpect: 100-continue\r\n${framing}\r\n\r\n`)
    return client
  }
  const first = await begin('first', `content-length: ${200 * 1024}`)
  await first.until(/100 Continue/)

  const second = await begin('second', `content-length: ${150 * 1024}`)
  t.match(await second.ended, /^HTTP\/1\.1 503 .*retry-after: 1\r\n.*"code":"overloaded"/is)
  const unknown = await begin('unknown', 'transfer-encoding: chunked')
  t.match(await unknown.ended, /^HTTP\/1\.1 503 /, 'without a length it counts as the longest there may be')
  const small = {
    method: 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
    body: '{}',
  }
  t.equal((await ask(`${gateway.url}/segment`, small)).status, 400, 'a small one fits')

  first.destroy()
  await gateway.logged(line => line.requestId === 'first')
  const third = await begin('third', `content-length: ${150 * 1024}`)
  await third.until(/100 Continue/)
  for (const client of [second, unknown, third]) client.destroy()
})
