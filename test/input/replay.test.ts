import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { replay } from '../../src/input/replay.js'

t.test('a body is read again, followed by its rest', async t => {
  const body = new PassThrough()
  const all = buffer(replay(body, [Buffer.from('a'), Buffer.alloc(0), Buffer.from('b')]))
  body.write('c')
  body.end('d')
  t.equal(String(await all), 'abcd')
})

t.test('a body that has ended is read again', async t => {
  const body = new PassThrough()
  body.end('a')
  await buffer(body)
  t.equal(String(await buffer(replay(body, [Buffer.from('a')]))), 'a')
})

t.test('the rest is read no faster than the replay', async t => {
  const body = new PassThrough({ highWaterMark: 10 })
  const all = replay(body, [Buffer.alloc(100_000)])
  while (body.write(Buffer.alloc(5)));
  await once(all, 'readable')
  t.ok(body.isPaused())
  all.resume()
  body.end()
  await once(all, 'end')
})

t.test('a body that is cut off cuts off its replay', async t => {
  const body = new PassThrough()
  const all = replay(body, [Buffer.from('a')])
  const cause = new Error('reset')
  body.on('error', () => {})
  body.destroy(cause)
  await t.rejects(buffer(all), cause)
})
