import t from 'tap'
import { connectionLimits } from '../../src/app/connection-limits.js'
import { loadSettings } from '../../src/config/index.js'

async function limited(maxConnections: number, openFiles: number) {
  const { server } = loadSettings({ MAX_CONNECTIONS: String(maxConnections) })
  const { max, isLowered } = await connectionLimits(server, Promise.resolve(openFiles))
  return [max, isLowered]
}

t.test('connections leave 128 file handles to the rest of the gateway', async t => {
  t.same(await limited(4096, 10_000), [4096, false])
  t.same(await limited(4096, 400), [272, true])
  t.same(await limited(4096, 100), [16, true], 'some connections are always accepted')
  t.same(await limited(0, 400), [272, false])
  t.same(await limited(0, Number.POSITIVE_INFINITY), [0, false])
  t.same(await limited(4096, Number.POSITIVE_INFINITY), [4096, false])
})

t.test('the limit on open files of this process is known on Linux', async t => {
  const { max } = await connectionLimits(loadSettings({ MAX_CONNECTIONS: '0' }).server)
  t.ok(max > 0 || process.platform !== 'linux')
})
