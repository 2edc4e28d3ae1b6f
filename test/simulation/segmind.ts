import { createHash } from 'node:crypto'
import { type Dispatcher, Pool } from 'undici'
import { formatCredits } from '../../src/contracts/nanocredits.js'
import { TINY_JPEG } from '../support/doubles/fake-segmind.js'
import type { Random } from '../support/random.js'
import type { UpstreamCall } from './history.js'
import type { CallWeights } from './plan.js'
import { type Machine, schedule, thisMachine, trueTime, WORLD } from './virtual-time.js'

const HEADER_ERROR = { 429: 'rate limit', 500: 'Internal Polling Error', 502: 'bad gateway', 503: 'busy', 422: 'no' }

/** The image of an input as every request names it. */
export const imageOf = (input: number): Buffer => Buffer.concat([TINY_JPEG, Buffer.from(`input ${input}`)])
export const digestOf = (input: number): string => createHash('sha256').update(imageOf(input)).digest('hex')
/** The bytes that a request uploads: they name the request, so that a call shows who led it. */
export const uploadOf = (requestId: string): Buffer => Buffer.concat([TINY_JPEG, Buffer.from(requestId)])
export const promptOf = (input: number): string => `thing ${input}`
const inputOf = (prompt: string): number => Number(prompt.slice('thing '.length))
/** Reads the input from a picture. */
export const pictureOf = (body: Buffer): number => Number(body.toString('latin1').split(' ')[1])

interface Row {
  visibleAt: number
  row: Record<string, unknown>
}

interface Answer {
  status: number
  headers?: Record<string, string>
  body: Buffer | string
  /** The connection breaks after half of the body. */
  isCut?: boolean
}

type Request = Dispatcher.RequestOptions

/** Segmind: an account, its calls and its history, behind the HTTP connections of all replicas. */
export class Segmind {
  balance: number
  price: number
  weights: CallWeights
  /** Rows of the history contain what was asked. */
  readonly hasQuestions: boolean
  /** The balance endpoint states a wrong figure this many times. */
  balanceLies = 0
  /** Until then it is late. */
  balanceLateUntil = 0
  readonly calls: UpstreamCall[] = []
  readonly #rows: Row[] = []
  readonly #random: Random

  constructor(start: Pick<Segmind, 'balance' | 'price' | 'weights' | 'hasQuestions'>, random: Random) {
    const { balance, price, weights, hasQuestions } = start
    this.hasQuestions = hasQuestions
    this.balance = balance
    this.price = price
    this.weights = weights
    this.#random = random
  }

  /** Bills another user of the key. */
  spendElsewhere(cost: number): void {
    this.balance -= cost
    this.#addRow({ id: `foreign-${this.#rows.length}`, model: 'sdxl', status: 'COMPLETED', cost })
  }

  async request(options: Request): Promise<Dispatcher.ResponseData> {
    const from = thisMachine()
    const { path } = options
    if (options.method === 'POST') return this.#segment(options, from)
    const isBalance = path.startsWith('/v1/get-user-credits')
    const lateMs = isBalance && this.balanceLateUntil > trueTime() ? this.#random.between(3_000, 15_000) : 0
    await this.#travel(from, options, this.#random.between(5, 80) + lateMs)
    return response(isBalance ? this.#balanceAnswer() : this.#resourceAt(path))
  }

  #balanceAnswer(): Answer {
    const lie = this.balanceLies > 0 ? this.#random.between(1, 9) * 100_000_000 : 0
    if (lie > 0) this.balanceLies--
    return { status: 200, body: `{"credits":${formatCredits(this.balance + lie)},"free-credits":0}` }
  }

  #resourceAt(path: string): Answer {
    const picture = /^\/picture\/(\d+)/.exec(path)
    if (picture) return { status: 200, body: pictureBody(Number(picture[1]), 'rescued') }
    const [, id] = /request-history\/([^?]+)/.exec(path) ?? []
    const rows = this.#rows.filter(({ visibleAt }) => visibleAt <= trueTime()).map(({ row }) => row)
    const found = rows.filter(row => id === undefined || row.request_id === decodeURIComponent(id))
    if (id !== undefined && found.length === 0) return { status: 404, body: '{"error":"unknown"}' }
    const page = Number(/[?&]page=(\d+)/.exec(path)?.[1] ?? 1)
    return { status: 200, body: JSON.stringify({ data: page === 1 ? found.reverse() : [] }) }
  }

  async #segment(options: Request, from: Machine): Promise<Dispatcher.ResponseData> {
    const random = this.#random
    const fate = random.weighted(this.weights)
    if (fate === 'unsent') {
      await this.#travel(from, options, 20)
      throw new Error('connect ECONNREFUSED')
    }
    const chunks: Buffer[] = []
    for await (const chunk of options.body as unknown as AsyncIterable<Buffer>) chunks.push(chunk)
    const { image, prompt } = JSON.parse(Buffer.concat(chunks).toString()) as { image: string; prompt: string }
    const call: UpstreamCall = {
      id: `call-${this.calls.length + 1}`,
      input: inputOf(prompt),
      requestId: Buffer.from(image, 'base64').subarray(TINY_JPEG.length).toString(),
      process: from.name,
      at: trueTime(),
      cost: 0,
      isDelivered: false,
      isLie: false,
    }
    this.calls.push(call)
    const answer = new Promise<Answer | undefined>(resolve => {
      schedule(WORLD, random.between(300, fate === 'slow' ? 12_000 : 3_000), () => resolve(this.#answerTo(call, fate)))
    }).then(
      answer =>
        new Promise<Answer | undefined>(resolve => schedule(from, random.between(1, 20), () => resolve(answer))),
    )
    const { signal } = options as { signal?: AbortSignal }
    signal?.addEventListener('abort', () => {
      call.endedAt ??= trueTime()
    })
    const found = await answer
    if (signal?.aborted) throw signal.reason
    // A connection that stays silent until the caller's deadline.
    if (!found && random.chance(0.5)) return new Promise(() => undefined)
    call.endedAt = trueTime()
    if (!found) throw new Error('ECONNRESET')
    call.status = found.status
    call.isDelivered = found.status === 200 && !found.isCut && fate !== 'no-picture'
    return response(found)
  }

  /** Decides the call, and bills it. Undefined if no answer arrives. */
  #answerTo(call: UpstreamCall, fate: keyof CallWeights): Answer | undefined {
    const random = this.#random
    const status = { busy: 429, paced: 429, failing: random.pick([500, 502, 504]), overloaded: 503, rejected: 422 }[
      fate as 'busy'
    ] as keyof typeof HEADER_ERROR | undefined
    if (status) {
      const headers = fate === 'paced' ? { 'retry-after': String(random.between(1, 5)) } : {}
      return { status, headers, body: JSON.stringify({ error: HEADER_ERROR[status] ?? 'failed' }) }
    }
    const cost = Math.round(this.price * (0.9 + 0.2 * random.next()))
    if (this.balance < cost)
      return {
        status: 406,
        headers: { 'x-remaining-credits': formatCredits(this.balance) },
        body: '{"error":"Insufficient credits"}',
      }
    if (fate === 'lost-unbilled') {
      this.#addRow({ id: call.id, status: 'FAILED', cost: 0, call })
      return undefined
    }
    call.cost = cost
    this.balance -= cost
    this.#addRow({ id: call.id, status: 'COMPLETED', cost, call })
    if (fate === 'lost-billed') return undefined
    call.isLie = fate === 'dear' || fate === 'odd-balance'
    const stated = fate === 'dear' ? cost * random.between(20, 200) : cost
    if (fate === 'odd-balance') call.balanceError = random.between(1, 50) * 50_000_000
    const remaining = this.balance - (call.balanceError ?? 0)
    const headers = {
      'x-request-id': call.id,
      ...(fate !== 'no-cost' && fate !== 'no-figures' && { 'x-cost': formatCredits(stated) }),
      ...(fate !== 'no-figures' && { 'x-remaining-credits': formatCredits(remaining) }),
    }
    const body = fate === 'no-picture' ? 'oops' : pictureBody(call.input, call.id)
    return { status: 200, headers, body, isCut: fate === 'cut' }
  }

  /** Adds a row that may be late, doubled or never appear. */
  #addRow({
    id,
    model = 'sam-v2-image',
    status,
    cost,
    call,
  }: {
    id: string
    model?: string
    status: string
    cost: number
    call?: UpstreamCall
  }): void {
    const random = this.#random
    const created = new Date(call?.at ?? trueTime()).toISOString()
    const question = call && {
      image: imageOf(call.input).toString('base64'),
      prompt: promptOf(call.input),
      overlay_mask: true,
    }
    const row = {
      request_id: id,
      model_name: model,
      model_status: status,
      credits_deduction: cost / 1e9,
      model_created: created,
      ...(call && this.hasQuestions && { request_body: question }),
      ...(call && cost > 0 && { generation_url: `http://segmind.test/picture/${call.input}` }),
    }
    const isMissing = random.chance(0.03)
    const visibleAt = trueTime() + (isMissing ? 1e12 : random.pick([200, 2_000, 70_000]))
    const copies = random.chance(0.1) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) this.#rows.push({ visibleAt, row })
  }

  /** Waits for a request and its answer. Rejects when the caller gives up. */
  #travel(from: Machine, { signal }: { signal?: Request['signal'] }, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const given = signal as AbortSignal | undefined
      given?.addEventListener('abort', () => reject(given.reason), { once: true })
      schedule(from, ms, resolve)
    })
  }
}

function pictureBody(input: number, name: string): Buffer {
  return Buffer.concat([TINY_JPEG, Buffer.from(` ${input} ${name}`)])
}

function response({ status, headers = {}, body, isCut = false }: Answer): Dispatcher.ResponseData {
  const bytes = Buffer.from(body)
  async function* chunks() {
    yield isCut ? bytes.subarray(0, bytes.length / 2) : bytes
    if (isCut) throw new Error('other side closed')
  }
  return { statusCode: status, headers, body: chunks() } as unknown as Dispatcher.ResponseData
}

/** Connects every pool of the process with a simulated Segmind. */
export function connectTo(segmind: Segmind): void {
  const request = (options: Request) => segmind.request(options)
  Object.assign(Pool.prototype, { request })
}
