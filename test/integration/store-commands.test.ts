import { Redis } from 'ioredis'
import t from 'tap'
import { smallJpeg } from '../fixtures/odd-images.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const REQUESTS = 50
/**
 * Upper bounds for one request. A quiet machine takes 54, 4 and 3. Timers, and a machine so slow
 * that the end of a call does not share a step with the next request, add the rest.
 */
const MOST = { miss: 64, hit: 6, memoryHit: 4 }
const photo = await smallJpeg()

/** Returns a photo with a comment of its own, so that its digest is new. */
function uniquePhoto(number: number): Buffer {
  const comment = Buffer.from([0xff, 0xfe, 0, 6, 0, 0, 0, 0])
  comment.writeUInt32BE(number, 4)
  return Buffer.concat([photo.subarray(0, 2), comment, photo.subarray(2)])
}

t.test('a request sends few commands to Redis, those in scripts included', async t => {
  const redis = await startRedis()
  const client = new Redis(redis.url)
  const first = await startTestGateway({ redisUrl: redis.url })
  const { upstream, keys } = first
  const second = await startTestGateway({ redisUrl: redis.url, upstream, keys })
  t.teardown(async () => {
    await second.stop()
    await first.stop()
    client.disconnect()
    await redis.close()
  })

  const sendAll = async (gateway: TestGateway, cache: string, from: number): Promise<void> => {
    for (let number = from; number < from + REQUESTS; number++) {
      const response = await gateway.segment({ prompt: 'dog' }, { image: uniquePhoto(number) })
      await response.arrayBuffer()
      if (response.headers.get('x-cache') !== cache) throw new Error(`no ${cache}, but ${response.status}`)
    }
  }
  const commandsOf = async (work: () => Promise<void>): Promise<number> => {
    await client.config('RESETSTAT')
    await work()
    const calls = (await client.info('commandstats')).matchAll(/^cmdstat_(?!config|info)[^:]+:calls=(\d+)/gm)
    return [...calls].reduce((sum, [, count]) => sum + Number(count), 0) / REQUESTS
  }

  await sendAll(first, 'MISS', 0)
  const ofMiss = await commandsOf(() => sendAll(first, 'MISS', 1_000))
  t.ok(ofMiss <= MOST.miss, `${ofMiss} commands a miss`)
  const ofHit = await commandsOf(() => sendAll(second, 'HIT', 1_000))
  t.ok(ofHit <= MOST.hit, `${ofHit} commands a hit in Redis`)
  const ofMemoryHit = await commandsOf(() => sendAll(first, 'HIT', 1_000))
  t.ok(ofMemoryHit <= MOST.memoryHit, `${ofMemoryHit} commands a hit in memory`)
})
