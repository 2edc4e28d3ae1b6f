import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { withMetadata } from '../fixtures/metadata.js'
import { smallJpeg, smallPng, smallWebp } from '../fixtures/odd-images.js'
import type { FakeAnswer } from '../support/doubles/fake-segmind.js'
import { startTestGateway, type TestGateway, type TestGatewayOptions } from '../support/gateway/gateway.js'
import { startRedis } from '../support/programs/redis-server.js'

const SHARES = [0.02, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99]

async function start(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await startTestGateway(options)
  t.teardown(gateway.stop)
  return gateway
}

const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

t.test('an upload that is cut off is refused before anything is bought', async t => {
  const gateway = await start(t)
  for (const whole of [await smallJpeg(90, 70), await smallPng(90, 70), await smallWebp(90, 70)]) {
    for (const share of SHARES) {
      const image = whole.subarray(0, Math.floor(whole.length * share))
      const { status } = await gateway.segment(undefined, { image })
      t.ok([415, 422].includes(status), `${image.subarray(0, 4).toString('latin1')} at ${share}: ${status}`)
    }
    t.equal((await gateway.segment(undefined, { image: whole })).status, 200)
    const more = Buffer.concat([whole, Buffer.from('behind the end')])
    t.equal((await gateway.segment(undefined, { image: more })).status, 200, 'bytes behind the end do no harm')
  }
  t.equal(gateway.upstream.calls.length, 6)
})

t.test('a paid response without a whole picture is booked, refused and not kept', async t => {
  const gateway = await start(t)
  const [jpeg, png] = [await smallJpeg(90, 70), await smallPng(90, 70)]
  const broken: Record<string, FakeAnswer['body']> = {
    'half a JPEG': jpeg.subarray(0, jpeg.length / 2),
    'the first bytes of a JPEG': jpeg.subarray(0, 12),
    'a PNG without its end': png.subarray(0, -12),
    'an HTML page': '<html>busy</html>',
    'base64 that is cut off': { image: jpeg.toString('base64').slice(0, 400) },
  }
  for (const [what, body] of Object.entries(broken)) {
    gateway.upstream.script(body === undefined ? {} : { body })
    const answer = await gateway.segment({ prompt: what })
    t.equal(answer.status, 502, what)
    t.match(await answer.json(), { code: 'upstream_failed', billed: 'yes' }, what)
    const cached = await gateway.segment({ prompt: what }, { headers: { 'cache-control': 'only-if-cached' } })
    t.equal(cached.status, 504, `${what} is not kept`)
  }
})

t.test('a result that was damaged in the store is bought again, and never served', async t => {
  const redis = await startRedis()
  t.teardown(() => redis.close())
  const client = new Redis(redis.url)
  t.teardown(() => client.disconnect())
  // Without results in memory, every hit is read from Redis.
  const gateway = await start(t, { redisUrl: redis.url, env: { MEMORY_CACHE_BYTES: '0' } })
  const ask = async () => {
    const answer = await gateway.segment()
    const body = Buffer.from(await answer.arrayBuffer())
    return { cache: answer.headers.get('x-cache'), etag: answer.headers.get('etag'), digest: digestOf(body) }
  }
  const bought = await ask()
  t.match(await ask(), { ...bought, cache: 'HIT' })
  const [key = ''] = (await client.keys('*')).filter(each => each.includes(':result:'))
  const damages: ((value: Buffer) => Buffer)[] = [
    value => value.subarray(0, -3),
    value => Buffer.concat([value.subarray(0, -5), Buffer.from([(value.at(-5) ?? 0) ^ 1]), value.subarray(-4)]),
  ]
  for (const damage of damages) {
    const value = await client.getBuffer(key)
    await client.set(key, damage(value ?? Buffer.alloc(0)), 'KEEPTTL')
    t.match(await ask(), { cache: 'MISS', digest: bought.digest })
    t.match(await ask(), { cache: 'HIT', digest: bought.digest })
  }
  t.match(await gateway.metrics(), /segmind_gateway_damaged_bodies_total\{kind="result"\} 2/)
  await gateway.logged(({ msg }) => msg === 'stored body was damaged and is removed')
})

for (const mode of ['location', 'all'] as const) {
  t.test(`STRIP_METADATA=${mode} removes the location before an image leaves, and its id stays`, async t => {
    const gateway = await start(t, { env: { STRIP_METADATA: mode } })
    for (const type of ['jpeg', 'png', 'webp'] as const) {
      const image = await withMetadata(type, { orientation: 6, gps: true })
      const first = await gateway.segment({ prompt: type }, { image })
      t.equal(first.headers.get('x-image-id'), `sha256:${digestOf(image)}`)
      const second = await gateway.segment({ prompt: type }, { image })
      t.equal(second.headers.get('x-cache'), 'HIT')
      const { lastImage } = gateway.upstream
      t.ok(lastImage.length > 100)
      t.notMatch(lastImage.toString('latin1'), /C4N4RY/)
    }
    t.notMatch(gateway.logText(), /C4N4RY/)
  })
}
