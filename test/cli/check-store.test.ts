import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { run } from '../../src/cli/check.js'
import { witnessFile } from '../../src/credits/wholeness/witness-file.js'
import { openEmbeddedStore } from '../../src/store/embedded/embedded-store.js'
import { placeOf } from '../../src/store/open-store.js'
import { openRedisStore } from '../../src/store/redis/redis-store.js'
import { call } from '../store/suite/samples.js'
import { freePort } from '../support/programs/free-port.js'
import { launchRedis, startRedis } from '../support/programs/redis-server.js'
import { recorder } from './recorder.js'

async function checked(env: NodeJS.ProcessEnv) {
  const io = recorder({ SEGMIND_API_KEY: 'x', ...env })
  const code = await run([], io)
  return { code, err: io.err.filter(line => !line.startsWith('warning: ')) }
}

async function redisWorld(t: Test) {
  const server = await startRedis()
  t.teardown(() => server.close())
  const admin = new Redis(server.url)
  t.teardown(() => admin.disconnect())
  const check = (url = server.url) => checked({ REDIS_URL: url, DATA_DIR: t.testdirName })
  return { server, admin, check }
}

const refused = (problem: RegExp) => ({
  code: 1,
  err: [new RegExp(`^(REDIS_URL|DATA_DIR): ${problem.source}`), '1 problem'],
})

t.test('a Redis that can serve is no problem', async t => {
  const { check } = await redisWorld(t)
  t.same(await check(), { code: 0, err: [] })
})

t.test('a dead Redis is a problem', async t => {
  t.match(
    await checked({ REDIS_URL: `redis://127.0.0.1:${await freePort()}`, DATA_DIR: t.testdir() }),
    refused(/Redis is not connected/),
  )
})

t.test('a read-only replica, a full Redis, one that may evict and one that refuses writes are problems', async t => {
  const { server, admin, check } = await redisWorld(t)
  await admin.config('SET', 'maxmemory', 1, 'maxmemory-policy', 'noeviction')
  t.match(await check(), refused(/Redis is full/))
  await admin.config('SET', 'maxmemory', 100_000_000, 'maxmemory-policy', 'allkeys-lru')
  t.match(await check(), refused(/Redis may evict the ledger/))
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  t.match(await check(), { code: 0 })
  const port = await freePort()
  const replica = await launchRedis(t.testdir(), port, ['--replicaof', '127.0.0.1', String(server.port)])
  t.teardown(() => replica.end('SIGKILL'))
  t.match(await check(`redis://127.0.0.1:${port}`), refused(/Redis is a read-only replica/))
})

t.test('a user without the keys of the gateway, and a cluster node, are problems', async t => {
  const { server, admin, check } = await redisWorld(t)
  await admin.acl('SETUSER', 'other', 'on', '>secret', '~other:*', '&*', '+@all')
  const { err, code } = await check(`redis://other:secret@127.0.0.1:${server.port}`)
  t.equal(code, 1)
  t.match(err, [/^REDIS_URL: the Redis user has no permission/, '1 problem'])
  t.notMatch(err.join(), 'secret')
  await admin.acl('SETUSER', 'quiet', 'on', '>secret', '~*', '&*', '+@all', '-info', '-config')
  t.match(
    await check(`redis://quiet:secret@127.0.0.1:${server.port}`),
    { code: 0 },
    'without INFO the policy is unknown',
  )
  const io = recorder({ SEGMIND_API_KEY: 'x', REDIS_URL: `redis://quiet:secret@127.0.0.1:${server.port}` })
  await run([], io)
  t.match(io.err.join('\n'), /^warning: REDIS_URL: the Redis user has no permission for INFO, so a policy/m)
  const port = await freePort()
  const node = await launchRedis(t.testdir(), port, [
    '--cluster-enabled',
    'yes',
    '--cluster-port',
    `${await freePort()}`,
  ])
  t.teardown(() => node.end('SIGKILL'))
  t.match(await check(`redis://127.0.0.1:${port}`), refused(/Redis is a node of a cluster/))
})

t.test('a lost ledger is a problem in both stores', async t => {
  const { server } = await redisWorld(t)
  const dir = t.testdir()
  const redis = await openRedisStore({ url: server.url })
  await redis.ledger.reserve(call('a'), {})
  const inRedis = { dataDir: dir, maxBytes: 1e6, redisUrl: { reveal: () => server.url } }
  witnessFile(placeOf(inRedis)).write({ ...(await redis.ledger.totals()), sequence: 9 })
  t.match(
    await checked({ REDIS_URL: server.url, DATA_DIR: dir }),
    refused(/the ledger in Redis was lost \(rolled back\)/),
  )
  t.equal((await redis.ledger.totals()).loss, undefined, 'check marks nothing')
  const otherDatabase = { REDIS_URL: `${server.url}/1`, DATA_DIR: dir }
  t.match(await checked(otherDatabase), { code: 0 }, 'the witness of another store is ignored')
  await redis.close()
  const embedded = await openEmbeddedStore({ dir, maxBytes: 1e6 })
  await embedded.ledger.reserve(call('a'), {})
  t.match(await checked({ DATA_DIR: dir }), { code: 0 }, 'the witness of Redis is ignored')
  const seen = { epoch: 'e', sequence: 1, checksum: 'c' }
  witnessFile(placeOf({ dataDir: dir, maxBytes: 1e6 })).write(seen)
  t.match(await checked({ DATA_DIR: dir }), refused(/the ledger in .* was lost \(replaced\)/), 'beside a gateway')
  await embedded.ledger.accept(seen.epoch)
  t.match(await checked({ DATA_DIR: dir }), { code: 0 })
  await embedded.close()
})

t.test('a ledger that is gone is a problem if this machine has seen one', async t => {
  const dir = t.testdir()
  const file = witnessFile(placeOf({ dataDir: dir, maxBytes: 1e6 }))
  file.write({ epoch: '', sequence: 0, checksum: '' })
  t.match(await checked({ DATA_DIR: dir }), { code: 0 }, 'a ledger without a step')
  file.write({ epoch: 'known', sequence: 3, checksum: 'x' })
  t.match(await checked({ DATA_DIR: dir }), refused(/the ledger .*ledger\.mdb is gone; restore it, or run/))
  writeFileSync(join(dir, 'ledger.mdb'), '')
  t.match(await checked({ DATA_DIR: dir }), refused(/the ledger .*ledger\.mdb is gone/), 'an empty file')
  t.same(readdirSync(dir).sort(), ['ledger-witness.json', 'ledger.mdb'])
})

t.test('an unusable folder and a damaged ledger are problems, and check creates only lock files', async t => {
  const dir = t.testdir({ file: 'text', empty: {} })
  for (const name of ['empty', 'absent']) {
    t.match(await checked({ DATA_DIR: join(dir, name) }), { code: 0 })
    t.same(existsSync(join(dir, name)) ? readdirSync(join(dir, name)) : [], [])
  }
  t.match(await checked({ DATA_DIR: join(dir, 'file') }), refused(/.*file/))
  t.match(await checked({ DATA_DIR: join(dir, 'file', 'below') }), refused(/.*file/))
  const store = await openEmbeddedStore({ dir: join(dir, 'used'), maxBytes: 1e6 })
  await store.ledger.reserve(call('a'), {})
  await store.close()
  const files = readdirSync(join(dir, 'used'))
  t.match(await checked({ DATA_DIR: join(dir, 'used') }), { code: 0 })
  t.same(readdirSync(join(dir, 'used')), files)
  for (const name of files) if (name !== 'ledger.mdb') rmSync(join(dir, 'used', name))
  t.match(await checked({ DATA_DIR: join(dir, 'used') }), { code: 0 })
  t.same(
    readdirSync(join(dir, 'used')).sort(),
    ['ledger.mdb', 'ledger.mdb-lock', 'ledger.mdb-open-lock'],
    'beside a restored ledger',
  )
  truncateSync(join(dir, 'used', 'ledger.mdb'), 20_000)
  t.match(await checked({ DATA_DIR: join(dir, 'used') }), refused(/.*ledger\.mdb: the file is damaged/))
  if (process.getuid?.() !== 0) {
    mkdirSync(join(dir, 'locked'))
    writeFileSync(join(dir, 'locked', 'x'), '')
    chmodSync(join(dir, 'locked'), 0o500)
    t.match(await checked({ DATA_DIR: join(dir, 'locked') }), refused(/.*EACCES/))
  }
})
