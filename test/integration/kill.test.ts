import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Secret } from '../../src/config/index.js'
import { openStore } from '../../src/store/open-store.js'
import { otherJpeg } from '../fixtures/jpeg.js'
import { type FakeSegmind, startFakeSegmind } from '../support/doubles/fake-segmind.js'
import { entriesOf } from '../support/entries-of.js'
import { segmentForm } from '../support/gateway/gateway.js'
import { startGatewayProcess } from '../support/gateway/gateway-process.js'
import { writeTeamsFile } from '../support/gateway/teams-file.js'
import { startRedis } from '../support/programs/redis-server.js'

const REQUESTS = 80
/** Calls that Segmind has received from each process when it is killed. */
const KILL_AFTER = [3, 11, 20]

for (const kind of ['embedded', 'redis'] as const) {
  t.test(
    `kill -9 under load (${kind} store): every answered call is in the ledger, and every result survives`,
    async t => {
      const dir = await mkdtemp(join(tmpdir(), 'kill-test-'))
      t.teardown(() => rm(dir, { recursive: true, force: true }))
      const upstream = await startFakeSegmind()
      t.teardown(() => upstream.close())
      const redis = kind === 'redis' ? await startRedis() : undefined
      t.teardown(() => redis?.close())
      const { file: teamsFile, keys } = await writeTeamsFile(dir, { vision: {} })
      const env = {
        DATA_DIR: dir,
        TEAMS_FILE: teamsFile,
        SEGMIND_API_KEY: upstream.apiKey,
        SEGMIND_BASE_URL: upstream.url,
        LOG_LEVEL: 'info',
        ...(redis ? { REDIS_URL: redis.url } : {}),
      }
      const images = await Promise.all(Array.from({ length: REQUESTS }, (_, number) => otherJpeg(number)))
      const answered = new Set<number>()
      let next = 0
      for (const killAfter of KILL_AFTER) {
        const gateway = await startGatewayProcess(env)
        const killed = upstream.arrived(killAfter + upstream.calls.length).then(() => gateway.end('SIGKILL'))
        const worker = async () => {
          while (next < REQUESTS) {
            const number = next++
            const ok = await ask(gateway.url, keys.vision, images[number] ?? Buffer.alloc(0)).catch(() => undefined)
            if (!ok) return
            answered.add(number)
          }
        }
        await Promise.all([worker(), worker(), worker(), worker()])
        await killed
      }
      await checkLedger(t, dir, upstream, redis?.url)

      const after = await startGatewayProcess(env)
      const calls = upstream.calls.length
      for (const number of answered) {
        t.equal(
          await ask(after.url, keys.vision, images[number] ?? Buffer.alloc(0)),
          'HIT',
          `result ${number} is cached`,
        )
      }
      t.equal(upstream.calls.length, calls)
      t.ok(answered.size > 0)
      t.equal(await after.end('SIGTERM'), 0)
    },
  )
}

async function ask(url: string, key: string, image: Buffer): Promise<string | null> {
  const answer = await fetch(`${url}/segment`, {
    method: 'POST',
    body: segmentForm({ prompt: 'dog' }, image),
    headers: { 'x-api-key': key },
  })
  await answer.arrayBuffer()
  return answer.status === 200 ? answer.headers.get('x-cache') : null
}

/**
 * Calls that Segmind received, and ledger entries of any state: the call of a killed process stays
 * reserved.
 */
async function checkLedger(t: Test, dir: string, upstream: FakeSegmind, redisUrl: string | undefined) {
  const { store } = await openStore({
    dataDir: dir,
    maxBytes: 64 * 1024 ** 2,
    ...(redisUrl ? { redisUrl: new Secret(redisUrl) } : {}),
  })
  const day = new Date().toISOString().slice(0, 10)
  const entries = await entriesOf(store.ledger, day)
  const [usage] = await store.ledger.usage(day.slice(0, 7), 'vision')
  await store.close()
  t.ok(upstream.calls.length > 0)
  t.ok(entries.length >= upstream.calls.length, `${upstream.calls.length} calls, ${entries.length} entries`)
  const spent = (usage?.charged ?? 0) + (usage?.reserved ?? 0) + (usage?.unknown ?? 0)
  t.ok(spent >= upstream.billed, 'at least the billed amount is booked')
  t.equal(entries.filter(({ state }) => state === 'charged').length, usage?.paidCalls)
}
