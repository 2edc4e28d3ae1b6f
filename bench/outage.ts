import { startTestGateway } from '../test/support/gateway/gateway.js'
import { startRedis } from '../test/support/programs/redis-server.js'

const ROUNDS = 15

const redis = await startRedis()
const gateway = await startTestGateway({
  redisUrl: redis.url,
  teams: { bench: { limits: { requests_per_minute: 1_000_000 } } },
})
const rows: Record<string, number[]> = {}
let newPrompts = 0
await gateway.segment({ prompt: 'known' })
for (let round = 0; round < ROUNDS; round++) {
  await time('hit', 'known')
  await time('purchase', `new ${newPrompts++}`)
  for (const [name, prompt] of [
    ['hit, first after the freeze', 'known'],
    ['purchase, first after the freeze', `new ${newPrompts++}`],
  ] as const) {
    redis.freeze()
    await time(name, prompt)
    await time('hit, while frozen', 'known')
    await time('purchase, while frozen', `new ${newPrompts++}`)
    redis.thaw()
    while (!(await gateway.metrics()).includes('store_up 1')) await new Promise(resolve => setTimeout(resolve, 20))
  }
}
for (const [name, times] of Object.entries(rows)) {
  const sorted = times.toSorted((a, b) => a - b)
  console.log(`${name.padEnd(36)} median ${at(sorted, 0.5)} ms, worst ${at(sorted, 1)} ms of ${sorted.length}`)
}
await gateway.stop()
await redis.close()

async function time(name: string, prompt: string): Promise<void> {
  const startedAt = performance.now()
  const answer = await gateway.segment({ prompt })
  await answer.arrayBuffer()
  if (answer.status !== 200) throw new Error(`${name}: ${answer.status}`)
  rows[name] ??= []
  rows[name].push(performance.now() - startedAt)
}

function at(sorted: number[], quantile: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0).toFixed(1)
}
