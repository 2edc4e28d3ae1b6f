import { once } from 'node:events'
import type { FakeSegmind } from '../support/fake-segmind.js'
import type { TestGateway } from '../support/gateway.js'
import { otherJpeg } from '../support/jpeg.js'
import type { RedisServer } from '../support/redis-server.js'

/** Two replicas, what they share, and what stands in for Segmind. */
export interface World {
  gateway: TestGateway
  replica: TestGateway
  upstream: FakeSegmind
  redis: RedisServer
}

type Word = [prompt: string, headers?: Record<string, string>]

/** Sends a question and reads the answer to its end. Answers how it was answered: `HIT`, or a status that is not 200. */
async function ask(gateway: TestGateway, [prompt, headers = {}]: Word, team?: string): Promise<string> {
  const answer = await gateway.segment({ prompt }, { headers, ...(team !== undefined && { team }) })
  await answer.arrayBuffer()
  return answer.status === 200 ? `${answer.headers.get('x-cache')}` : String(answer.status)
}

/** What happens to a gateway that nothing befalls: purchases, hits, everything that has a percentile, and questions that are none. */
export async function ordinary({ gateway, replica }: World, round: string): Promise<string[]> {
  const told: string[] = []
  for (const [one, other] of [
    [gateway, replica],
    [replica, gateway],
  ] as const) {
    const prompt = `${round} of ${one.url}`
    told.push(await ask(one, [prompt]), await ask(other, [prompt]), await ask(one, [prompt], 'budgeted'))
  }
  told.push(await ask(gateway, [round, { 'cache-control': 'no-cache' }]), await ask(gateway, ['']))
  return told
}

/** The same question of several at once: one buys, the others follow, in this process and in another. */
export async function together({ gateway, replica, upstream }: World, round: string): Promise<string[]> {
  const held = upstream.hold()
  const before = upstream.calls.length
  const asked = [gateway, gateway, replica].map(one => ask(one, [`${round}, together`]))
  await upstream.arrived(before + 1)
  held.open()
  return Promise.all(asked)
}

/** An answer that is past its time, while Segmind fails. */
export async function stale({ gateway, upstream }: World, prompt: string): Promise<string> {
  upstream.script({ status: 500, body: '' }, { status: 500, body: '' })
  return ask(gateway, [prompt])
}

/** Everything that goes wrong between Segmind and the gateway, and what callers do wrong. */
export async function trouble(world: World, round: string): Promise<string[]> {
  const { gateway, upstream } = world
  const told: string[] = []
  upstream.script({ status: 429, body: '', headers: { 'retry-after': '0' } })
  told.push(await ask(gateway, [`${round}, busy`]))
  upstream.script({ status: 500, body: '' })
  told.push(await ask(gateway, [`${round}, failing`]))
  upstream.script({ how: 'reset' })
  told.push(await ask(gateway, [`${round}, torn`]))
  const wrong = await gateway.fetch('/segment', { method: 'POST', headers: { 'x-api-key': 'sg_wrong' } })
  await wrong.arrayBuffer()
  const nothing = await gateway.segment({})
  await nothing.arrayBuffer()
  return [...told, String(wrong.status), String(nothing.status)]
}

/** More purchases than may be at Segmind at once; they are let through when `isSeen` has seen them wait. */
export async function queue(
  { gateway, upstream }: World,
  round: string,
  isSeen: () => Promise<void>,
): Promise<string[]> {
  const held = upstream.hold()
  const asked = [1, 2, 3, 4].map(number => ask(gateway, [`${round}, ${number} in the queue`]))
  await isSeen()
  held.open()
  return Promise.all(asked)
}

/** A team with a budget asks while Redis does not answer. */
export async function outage({ gateway, redis }: World, round: string): Promise<string> {
  redis.freeze()
  const told = await ask(gateway, [`${round}, without a store`], 'budgeted')
  redis.thaw()
  return told
}

/** An image under its digest, and the address of a health check. */
export async function uploads({ gateway }: World, round: number): Promise<void> {
  await (await gateway.segment({ prompt: 'another image' }, { image: await otherJpeg(round) })).arrayBuffer()
  await (await gateway.fetch('/healthz', { headers: { 'x-api-key': '' } })).arrayBuffer()
}

/** Waits, by asking again, for something in another process. */
export async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await once(AbortSignal.timeout(100), 'abort')
}
