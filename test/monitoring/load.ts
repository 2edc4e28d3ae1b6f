import { otherJpeg } from '../fixtures/jpeg.js'
import type { FakeSegmind } from '../support/doubles/fake-segmind.js'
import type { TestGateway } from '../support/gateway/gateway.js'
import type { RedisServer } from '../support/programs/redis-server.js'

/** Two replicas, their shared Redis, and the simulated Segmind. */
export interface World {
  gateway: TestGateway
  replica: TestGateway
  upstream: FakeSegmind
  redis: RedisServer
}

type Input = [prompt: string, headers?: Record<string, string>]

/**
 * Sends a request and reads the whole response. Returns its cache outcome, such as `HIT`, or a
 * status other than 200.
 */
async function ask(gateway: TestGateway, [prompt, headers = {}]: Input, team?: string): Promise<string> {
  const answer = await gateway.segment({ prompt }, { headers, ...(team !== undefined && { team }) })
  await answer.arrayBuffer()
  return answer.status === 200 ? `${answer.headers.get('x-cache')}` : String(answer.status)
}

/**
 * Produces normal traffic: purchases, hits, everything that has a percentile, and invalid requests.
 */
export async function normalTraffic({ gateway, replica }: World, round: string): Promise<string[]> {
  const statuses: string[] = []
  for (const [one, other] of [
    [gateway, replica],
    [replica, gateway],
  ] as const) {
    const prompt = `${round} of ${one.url}`
    statuses.push(await ask(one, [prompt]), await ask(other, [prompt]), await ask(one, [prompt], 'budgeted'))
  }
  statuses.push(await ask(gateway, [round, { 'cache-control': 'no-cache' }]), await ask(gateway, ['']))
  return statuses
}

/**
 * Sends identical requests at once: one buys, the others follow, in this process and in another.
 */
export async function concurrent({ gateway, replica, upstream }: World, round: string): Promise<string[]> {
  const held = upstream.hold()
  const before = upstream.calls.length
  const pending = [gateway, gateway, replica].map(one => ask(one, [`${round}, together`]))
  await upstream.arrived(before + 1)
  held.open()
  return Promise.all(pending)
}

/** Produces a stale result, while Segmind fails. */
export async function stale({ gateway, upstream }: World, prompt: string): Promise<string> {
  upstream.script({ status: 500, body: '' }, { status: 500, body: '' })
  return ask(gateway, [prompt])
}

/** Produces every failure of Segmind, and the errors of callers. */
export async function failures(world: World, round: string): Promise<string[]> {
  const { gateway, upstream } = world
  const statuses: string[] = []
  upstream.script({ status: 429, body: '', headers: { 'retry-after': '0' } })
  statuses.push(await ask(gateway, [`${round}, busy`]))
  upstream.script({ status: 500, body: '' })
  statuses.push(await ask(gateway, [`${round}, failing`]))
  upstream.script({ how: 'reset' })
  statuses.push(await ask(gateway, [`${round}, torn`]))
  const wrong = await gateway.fetch('/segment', { method: 'POST', headers: { 'x-api-key': 'sg_wrong' } })
  await wrong.arrayBuffer()
  const nothing = await gateway.segment({})
  await nothing.arrayBuffer()
  return [...statuses, String(wrong.status), String(nothing.status)]
}

/** Sends more purchases than there are slots. They continue once `isSeen` has seen them wait. */
export async function queue(
  { gateway, upstream }: World,
  round: string,
  isSeen: () => Promise<unknown>,
): Promise<string[]> {
  const held = upstream.hold()
  const pending = [1, 2, 3, 4].map(number => ask(gateway, [`${round}, ${number} in the queue`]))
  await isSeen()
  held.open()
  return Promise.all(pending)
}

/** Sends a request of a team with a budget while Redis does not answer. */
export async function outage({ gateway, redis }: World, round: string): Promise<string> {
  redis.freeze()
  const statuses = await ask(gateway, [`${round}, without a store`], 'budgeted')
  redis.thaw()
  return statuses
}

/** Sends an image by its digest, and a health check. */
export async function uploads({ gateway }: World, round: number): Promise<void> {
  await (await gateway.segment({ prompt: 'another image' }, { image: await otherJpeg(round) })).arrayBuffer()
  await (await gateway.fetch('/healthz', { headers: { 'x-api-key': '' } })).arrayBuffer()
}
