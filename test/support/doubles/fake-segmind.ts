import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { defined } from '../../../src/contracts/defined.js'
import { formatCredits, type Nanocredits } from '../../../src/contracts/nanocredits.js'
import type { Size } from '../../../src/contracts/types.js'
import { pictureOf } from '../../../src/images/containers/structure.js'
import { fakeMask } from './fake-mask.js'

export interface FakeCall {
  at: number
  headers: IncomingHttpHeaders
  path: string
  /** The decoded image: its SHA-256 in hex, its length, and its size in pixels if it is whole. */
  image: { digest: string; byteLength: number; size?: Size }
  /** Every field except the image, as received: points are strings that hold JSON. */
  fields: Record<string, unknown>
  /** Number of its socket, from 1. */
  connection: number
}

/** A row of the request history, as Segmind sends it. */
export type FakeRow = Record<string, unknown> & { request_id: string }

export interface FakeAnswer {
  /** Default 200. */
  status?: number
  /** Override the default headers; `undefined` removes one. */
  headers?: Record<string, string | undefined>
  /** Default: `fakePicture` of the call. An object is sent as JSON. */
  body?: Buffer | string | object
  /** Default: 0.0017 credits for status 200, else nothing. */
  cost?: Nanocredits
  /**
   * `answer` (default). `reset`: resets the connection after the request was read. `cut`: ends the
   * connection in the middle of the body. `stall`: stops in the middle of the body. `hang`: sends
   * no response. The last two last until the client disconnects.
   */
  how?: 'answer' | 'reset' | 'cut' | 'stall' | 'hang'
  /** Delays the response until it resolves. */
  after?: Promise<unknown>
  /** Changes its rows in the request history; no rows for a missing one. Default: one row. */
  rows?: (row: FakeRow) => FakeRow[]
  /** Course of the job that a v2 call starts. Its picture is `body`, its cost `cost`. */
  job?: FakeJobScript
}

interface FakeJobScript {
  /** Number of polls before the job is completed. Default 1; with `Infinity` it never ends. */
  polls?: number
  /** The job fails with this message. */
  error?: string
  /** URL of its picture. Default: a URL of the fake. */
  output?: string | undefined
  /** Responses to the first polls, before those that report the job. */
  firstPolls?: FakeAnswer[]
}

interface FakeJob {
  id: string
  answer: FakeAnswer
  call: FakeCall
  polls: number
  isBilled: boolean
}

/** `index` counts all calls of the fake, from 0. */
export type FakeScript = (call: FakeCall, index: number) => FakeAnswer | Promise<FakeAnswer>

export const FAKE_COST: Nanocredits = 1_700_000
const HISTORY = '/inference-request/request-history'
const SMALL_BODY = 64 * 1024
/** A JPEG of 8 × 8 pixels. */
export const TINY_JPEG = Buffer.from(
  '/9j/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCNl4x9lnN+gXz/2wBDARUXFx4aHjsh' +
    'ITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAARCAAIAAgDASIAAhEBAxEB/8QAFQAB' +
    'AQAAAAAAAAAAAAAAAAAAAAL/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFAEBAAAAAAAAAAAAAAAAAAAAAP/EABQRAQAAAAAAAAAAAAAAAAAA' +
    'AAD/2gAMAwEAAhEDEQA/AJAB/9k=',
  'base64',
)

export async function startFakeSegmind(
  options: { apiKey?: string; remaining?: Nanocredits } = {},
): Promise<FakeSegmind> {
  const fake = new FakeSegmind(options.apiKey ?? 'SG_00112233aabbccdd', options.remaining ?? 10_000_000_000)
  await fake.goOnline()
  return fake
}

/**
 * A scripted Segmind on a free loopback port. Without a script, every call returns a paid picture.
 */
export class FakeSegmind {
  /** Calls with the right key and a readable body, in order of arrival. */
  readonly calls: FakeCall[] = []
  /** Paths of requests for jobs, and the key of each request for a picture, if any. */
  readonly polls: string[] = []
  readonly outputs: { key: string | undefined }[] = []
  /** Balance requests with the right key. */
  balanceCalls = 0
  /** The request history, oldest first, and the paths that were requested. */
  rows: FakeRow[] = []
  readonly historyCalls: string[] = []
  /** Requests with another key. */
  unauthorized = 0
  /** Calls in flight, and their maximum so far. */
  inFlight = 0
  peakInFlight = 0
  /** Number of accepted sockets. */
  connections = 0
  /** Cost of all calls, and the balance of the account. */
  billed: Nanocredits = 0
  remaining: Nanocredits
  readonly apiKey: string

  readonly #server = createServer((request, response) => {
    this.#handle(request, response).catch(error => response.destroy(error))
  })
  readonly #sockets = new Map<Socket, number>()
  #port = 0
  readonly #jobs = new Map<string, FakeJob>()
  #always: FakeScript = () => ({})
  #next: FakeAnswer[] = []
  #nextBalance: FakeAnswer[] = []
  #nextHistory: FakeAnswer[] = []
  #pictures = new Map<string, Buffer>()
  /** Small images that were sent, as base64, by digest. */
  readonly #images = new Map<string, string>()
  #gate: Promise<void> = Promise.resolve()
  #waiting: { count: number; done: () => void }[] = []

  constructor(apiKey: string, remaining: Nanocredits) {
    this.apiKey = apiKey
    this.remaining = remaining
    this.#server.on('connection', socket => {
      this.#sockets.set(socket, ++this.connections)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  /** Returns the image of the last call; empty if it was large. */
  get lastImage(): Buffer {
    return Buffer.from(this.#images.get(this.calls.at(-1)?.image.digest ?? '') ?? '', 'base64')
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /**
   * Scripts the next calls, one reply per call. A function replies to every call for which no list
   * is left.
   */
  script(...answers: FakeAnswer[] | [FakeScript]): void {
    const [first] = answers
    if (typeof first === 'function') this.#always = first
    else this.#next.push(...(answers as FakeAnswer[]))
  }

  /** Scripts the next balance requests, one reply per request. */
  scriptBalance(...answers: FakeAnswer[]): void {
    this.#nextBalance.push(...answers)
  }

  /** Scripts the next requests for the history, one reply per request. */
  scriptHistory(...answers: FakeAnswer[]): void {
    this.#nextHistory.push(...answers)
  }

  /** Holds every later call until the gate is opened. */
  hold(): { open(): void } {
    let open = (): void => {}
    this.#gate = new Promise(resolve => {
      open = resolve
    })
    return { open }
  }

  /** Resolves once that many calls have arrived in total. */
  arrived(count: number): Promise<void> {
    return new Promise(done => {
      this.#waiting.push({ count, done })
      this.#notifyArrivals()
    })
  }

  /** Completes every job. */
  finishJobs(): void {
    for (const job of this.#jobs.values()) job.polls = Number.POSITIVE_INFINITY
  }

  /** Closes idle keep-alive sockets. */
  closeIdleSockets(): void {
    this.#server.closeIdleConnections()
  }

  /** Listens again on the same port. */
  async goOnline(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Drops all connections and refuses new ones. */
  async goOffline(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  close(): Promise<void> {
    return this.goOffline()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url?.startsWith('/outputs/')) return this.#answerOutput(request, response)
    if (request.headers['x-api-key'] !== this.apiKey) {
      this.unauthorized++
      return refuse(request, response, 401, 'Missing Authorization or x-api-key in header')
    }
    if (request.method === 'GET' && request.url?.endsWith('/v1/get-user-credits')) return this.#answerBalance(response)
    if (request.url?.startsWith(HISTORY)) return this.#answerHistory(request, response)
    if (request.url?.startsWith('/v2/requests/')) return this.#answerPoll(request, response)
    if (!request.url?.match(/\/v[12]\/sam-v2-image$/)) return refuse(request, response, 404, 'Model not found')
    if (request.method !== 'POST') return refuse(request, response, 405, 'Method not allowed')
    const body = await bytesOf(request)
    const call = readCall(request, body, this.#sockets.get(request.socket) ?? 0)
    if (typeof call === 'string') return refuse(request, response, call === 'Invalid content type' ? 406 : 400, call)
    if (body.length <= SMALL_BODY)
      this.#images.set(call.image.digest, (parseJson(body.toString()) as { image: string }).image)
    await this.#answerCall(call, request, response)
  }

  async #answerCall(call: FakeCall, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const index = this.calls.push(call) - 1
    this.peakInFlight = Math.max(this.peakInFlight, ++this.inFlight)
    response.once('close', () => this.inFlight--)
    this.#notifyArrivals()
    const scripted = this.#next.shift()
    await this.#gate
    const answer = scripted ?? (await this.#always(call, index))
    await answer.after
    if (call.path.endsWith('/v2/sam-v2-image') && (answer.status ?? 200) === 200 && !answer.how)
      return this.#begin({ id: `job-${index + 1}`, answer, call, polls: 0, isBilled: false }, response)
    const paid = (answer.status ?? 200) === 200 && answer.how !== 'reset' && answer.how !== 'hang'
    const cost = answer.cost ?? (paid ? FAKE_COST : 0)
    this.billed += cost
    this.remaining -= cost
    this.#addRow(`fake-${index + 1}`, call, answer, cost)
    const usual = {
      'x-remaining-credits': formatCredits(this.remaining),
      'x-request-id': `fake-${index + 1}`,
      ...(paid && { 'x-cost': formatCredits(cost), 'x-generation-time': '1.7' }),
    }
    perform(answer, usual, answer.body ?? fakePicture(call), request, response)
  }

  #begin(job: FakeJob, response: ServerResponse): void {
    this.#jobs.set(job.id, job)
    const urls = { status_url: `https://elsewhere.invalid/v2/requests/${job.id}/status`, response_url: 'nowhere' }
    sendJson(response, 200, { request_id: job.id, status: 'QUEUED', ...urls })
  }

  #answerPoll(request: IncomingMessage, response: ServerResponse): void {
    this.polls.push(request.url ?? '')
    const [, , , id = '', status] = (request.url ?? '').split('/')
    const job = this.#jobs.get(id)
    const scripted = job?.answer.job?.firstPolls?.shift()
    const { polls = 1, error } = job?.answer.job ?? {}
    if (!job) refuse(request, response, 404, 'Request not found')
    else if (scripted) perform(scripted, {}, scripted.body ?? '', request, response)
    else if (status && job.polls++ < polls) sendJson(response, 200, { status: 'PROCESSING' })
    else if (error !== undefined) sendJson(response, 422, { status: 'FAILED', error })
    else if (status) sendJson(response, 200, { status: 'COMPLETED', metrics: { inference_time: 1.2 } })
    else sendJson(response, 200, this.#bill(job))
  }

  /** Returns the result of a job and bills it once. */
  #bill(job: FakeJob): object {
    const cost = job.answer.cost ?? FAKE_COST
    if (!job.isBilled) {
      job.isBilled = true
      this.billed += cost
      this.remaining -= cost
      this.#addRow(job.id, job.call, job.answer, cost)
    }
    const { job: script = {} } = job.answer
    const output = 'output' in script ? script.output : `${this.url}/outputs/${job.id}.jpg`
    const money = { cost: Number(formatCredits(cost)), remaining_credits: Number(formatCredits(this.remaining)) }
    return { status: 'COMPLETED', output, metrics: money }
  }

  #addRow(id: string, call: FakeCall, answer: FakeAnswer, cost: Nanocredits): void {
    const row = {
      request_id: id,
      model_name: 'sam-v2-image',
      model_status: cost > 0 ? 'COMPLETED' : 'FAILED',
      credits_deduction: Number(formatCredits(cost)),
      request_body: { image: this.#images.get(call.image.digest) ?? 'https://fake.invalid/in.jpg', ...call.fields },
      generation_url: cost > 0 ? `${this.url}/outputs/${id}.jpg` : null,
      latency_ms: 1700,
      model_created: new Date(call.at).toISOString(),
    }
    this.#pictures.set(id, (answer.body as Buffer | undefined) ?? fakePicture(call))
    this.rows.push(...(answer.rows?.(row) ?? [row]))
  }

  #answerHistory(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? ''
    this.historyCalls.push(path)
    const scripted = this.#nextHistory.shift()
    if (scripted) {
      perform(scripted, {}, scripted.body ?? '', request, response)
      return
    }
    const { pathname, searchParams } = new URL(path, this.url)
    const id = pathname.slice(HISTORY.length + 1)
    const found = this.rows.filter(row => row.request_id === id)
    if (id) {
      if (found.length > 0) sendJson(response, 200, { data: found })
      else refuse(request, response, 404, 'Request not found')
      return
    }
    const [page, size] = [Number(searchParams.get('page')), Number(searchParams.get('per_page'))]
    const data = this.rows.toReversed().slice((page - 1) * size, page * size)
    sendJson(response, 200, { total: this.rows.length, page, data })
  }

  #answerOutput(request: IncomingMessage, response: ServerResponse): void {
    this.outputs.push({ key: request.headers['x-api-key'] as string | undefined })
    const id = /([\w-]+)\.jpg$/.exec(request.url ?? '')?.[1] ?? ''
    const job = this.#jobs.get(id)
    const picture = this.#pictures.get(id)
    if (picture) response.end(picture)
    else if (!job) refuse(request, response, 404, 'no such output')
    else response.end((job.answer.body as Buffer | undefined) ?? fakePicture(job.call))
  }

  #answerBalance(response: ServerResponse): void {
    this.balanceCalls++
    const answer = this.#nextBalance.shift() ?? {}
    const body = answer.body ?? `{"credits":0.0,"free-credits":${formatCredits(this.remaining)}}`
    perform(answer, { 'content-type': 'application/json' }, body, response.req, response)
  }

  #notifyArrivals(): void {
    this.#waiting = this.#waiting.filter(({ count, done }) => {
      if (this.calls.length < count) return true
      done()
      return false
    })
  }
}

/**
 * Creates the default picture: for an overlay a JPEG of 8 × 8 pixels, else a mask of the image's
 * size. Equal inputs give equal bytes.
 */
export function fakePicture({ image, fields }: Pick<FakeCall, 'image' | 'fields'>): Buffer {
  const digest = createHash('sha256').update(image.digest).update(JSON.stringify(fields)).digest('hex')
  if (image.size && fields.overlay_mask === false) return fakeMask(image.size, digest)
  const comment = Buffer.from([0xff, 0xfe, 0, digest.length + 2])
  return Buffer.concat([TINY_JPEG.subarray(0, 2), comment, Buffer.from(digest), TINY_JPEG.subarray(2)])
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** Parses a call. Returns the error message for an invalid one. */
function readCall(request: IncomingMessage, body: Buffer, connection: number): FakeCall | string {
  const { headers, url: path = '' } = request
  if (!headers['content-type']?.startsWith('application/json')) return 'Invalid content type'
  const parsed = parseJson(body.toString('utf8'))
  if (typeof parsed !== 'object' || parsed === null) return 'Malformed body'
  const { image: base64, ...fields } = parsed as Record<string, unknown>
  if (typeof base64 !== 'string' || base64 === '') return 'image is required'
  const bytes = Buffer.from(base64, 'base64')
  const digest = createHash('sha256').update(bytes).digest('hex')
  const image = { digest, byteLength: bytes.length, ...defined({ size: pictureOf(bytes)?.size }) }
  return { at: Date.now(), headers, path, image, fields, connection }
}

function perform(
  answer: FakeAnswer,
  usual: Record<string, string>,
  body: Buffer | string | object,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (answer.how === 'hang') return
  if (answer.how === 'reset') return void request.socket.resetAndDestroy()
  const isText = typeof body === 'string'
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(isText ? body : JSON.stringify(body))
  const type = Buffer.isBuffer(body) ? 'image/jpeg' : isText ? 'text/plain' : 'application/json'
  const headers = { 'content-type': type, 'content-length': String(bytes.length), ...usual, ...answer.headers }
  const sent = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)
  response.writeHead(answer.status ?? 200, Object.fromEntries(sent))
  if (answer.how === 'cut') response.write(firstHalf(bytes), () => request.socket.destroy())
  // A body that is whole already has no middle. Left open, it would hold up the next request of the
  // connection.
  else if (answer.how === 'stall' && Number(headers['content-length'] ?? bytes.length) > firstHalf(bytes).length)
    response.write(firstHalf(bytes))
  else response.end(bytes)
}

const firstHalf = (bytes: Buffer): Buffer => bytes.subarray(0, Math.ceil(bytes.length / 2))

function refuse(request: IncomingMessage, response: ServerResponse, status: number, error: string): void {
  request.resume()
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ error }))
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
