import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { segmentForm } from '../test/support/gateway/gateway.js'

export type SoakStep = keyof typeof STEPS

export interface SoakClient {
  /** Sends the requests of one randomly chosen step. */
  step(): Promise<void>
  steps: Map<SoakStep, number>
  statuses: Map<number | string, number>
  failures: string[]
  notes: string[]
}

interface Target {
  url: string
  metricsUrl: string
}

interface Sent {
  status: number
  headers: Headers
  text: string
}

interface Context {
  base: string
  metricsUrl: string
  key: string
  adminKey: string
  photo: Buffer
  count: number
  send(path: string, options?: SendOptions): Promise<Sent>
}

interface SendOptions {
  method?: 'GET' | 'POST'
  headers?: Record<string, string>
  body?: FormData | string
  signal?: AbortSignal
}

const PHOTOS = 12
/** Every step with its share in the load. */
const STEPS = {
  hit: { share: 30, run: ({ send, photo }: Context) => send('/segment', form(photo, { prompt: 'the same' })) },
  miss: { share: 20, run: ({ send, photo, count }: Context) => send('/segment', form(photo, { prompt: `${count}` })) },
  batch: { share: 6, run: runBatch },
  accepted: { share: 6, run: runAccepted },
  job: { share: 6, run: runJob },
  quote: {
    share: 6,
    run: ({ send, photo, count }: Context) => send('/segment/quote', form(photo, { prompt: `${count}` })),
  },
  rle: {
    share: 4,
    run: ({ send, photo }: Context) => send('/segment', form(photo, { prompt: 'the same', output: 'rle' })),
  },
  base64: {
    share: 4,
    run: ({ send, photo }: Context) => send('/segment', form(photo, { prompt: 'the same', base64: 'true' })),
  },
  abandoned: { share: 6, run: runAbandoned },
  unread: { share: 3, run: runUnread },
  invalid: { share: 6, run: ({ send, photo }: Context) => send('/segment', form(photo, { coordinates: '[1' })) },
  stranger: { share: 4, run: ({ send }: Context) => send('/usage', { headers: { 'x-api-key': 'wrong' } }) },
  operator: { share: 3, run: runOperator },
} satisfies Record<string, { share: number; run(context: Context): Promise<unknown> }>

export async function createSoakClient(
  targets: Target[],
  { keys, adminKey }: { keys: string[]; adminKey: string },
): Promise<SoakClient> {
  const photos = await Promise.all(Array.from({ length: PHOTOS }, (_, index) => photo(index)))
  const wheel = Object.entries(STEPS).flatMap(([name, { share }]) =>
    Array.from({ length: share }, () => name as SoakStep),
  )
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T
  const client: SoakClient = { step, steps: new Map(), statuses: new Map(), failures: [], notes: [] }
  let count = 0
  return client

  async function step(): Promise<void> {
    const name = pick(wheel)
    client.steps.set(name, (client.steps.get(name) ?? 0) + 1)
    const { url: base, metricsUrl } = pick(targets)
    const key = pick(keys)
    const context = { base, metricsUrl, key, adminKey, photo: pick(photos), count: count++, send }
    await STEPS[name].run(context).catch(error => tally(name, (error as Error).name))

    async function send(path: string, { headers, ...options }: SendOptions = {}): Promise<Sent> {
      const answer = await fetch(new URL(path, base), { ...options, headers: { 'x-api-key': key, ...headers } })
      const text = Buffer.from(await answer.arrayBuffer()).toString('latin1')
      tally(name, answer.status, text)
      return { status: answer.status, headers: answer.headers, text }
    }
  }

  function tally(name: SoakStep, status: number | string, text = ''): void {
    client.statuses.set(status, (client.statuses.get(status) ?? 0) + 1)
    const isExpected = name === 'abandoned' ? status !== 500 : typeof status === 'number' && status !== 500
    if (!isExpected) client.failures.push(`${name}: ${status} ${text.slice(0, 200)}`)
  }
}

async function runBatch({ send, photo, count }: Context): Promise<void> {
  const selections = [1, 2, 3, 4].map(x => ({ coordinates: [[x + (count % 60), x]] }))
  await send('/segment/batch', form(photo, { selections: JSON.stringify(selections) }))
}

async function runAccepted({ send, photo, count }: Context): Promise<void> {
  const { status, headers } = await send('/segment', {
    ...form(photo, { prompt: `later ${count}` }),
    headers: { prefer: 'respond-async, wait=0' },
  })
  const location = headers.get('location')
  for (let polls = 0; status === 202 && location && polls < 10; polls++) {
    await sleep(100)
    if ((await send(location)).status === 200) return
  }
}

async function runJob({ send, photo, count }: Context): Promise<void> {
  const image = photo.toString('base64')
  const answer = await send('/v2/sam-v2-image', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ image, prompt: `job ${count}` }),
  })
  const { status_url: link } = answer.status === 200 ? (JSON.parse(answer.text) as { status_url?: string }) : {}
  for (let polls = 0; link && polls < 10; polls++) {
    await sleep(100)
    const { text } = await send(new URL(link).pathname)
    if (/COMPLETED|FAILED/.test(text)) return
  }
}

/** Leaves 15 ms after the request. */
async function runAbandoned({ send, photo, count }: Context): Promise<void> {
  await send('/segment', { ...form(photo, { prompt: `gone ${count}` }), signal: AbortSignal.timeout(15) })
}

/** Reads nothing of an answer for a while, and leaves. */
async function runUnread({ base, key, photo }: Context): Promise<void> {
  const request = form(photo, { prompt: 'the same', base64: 'true' })
  const answer = await fetch(new URL('/segment', base), { ...request, headers: { 'x-api-key': key } } as RequestInit)
  await sleep(1_000)
  await answer.body?.cancel()
}

async function runOperator({ send, adminKey, metricsUrl }: Context): Promise<void> {
  await send('/admin/overview', { headers: { 'x-api-key': adminKey } })
  await send('/admin/usage', { headers: { 'x-api-key': adminKey } })
  await readMetrics(metricsUrl)
}

function form(photo: Buffer, fields: Record<string, string>): SendOptions {
  return { method: 'POST', body: segmentForm(fields, photo) }
}

/** Creates a photo of 40 to 400 KB that compresses badly. */
function photo(index: number): Promise<Buffer> {
  const width = 200 + index * 50
  const pixels = Buffer.alloc(width * width * 3)
  for (let at = 0; at < pixels.length; at++) pixels[at] = (at * (index + 7) + ((at * 2_654_435_761) >>> 24)) & 0xff
  return sharp(pixels, { raw: { width, height: width, channels: 3 } })
    .jpeg({ quality: 90 })
    .toBuffer()
}

export async function readMetrics(metricsUrl: string): Promise<string> {
  const answer = await fetch(new URL('/metrics', metricsUrl))
  if (!answer.ok) throw new Error(`/metrics answered ${answer.status}`)
  return answer.text()
}
