import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { formatCredits } from '../../src/nanocredits.js'
import { fakePicture } from '../support/fake-segmind.js'
import type { Picture, UpstreamCall } from './history.js'
import type { Behaviour } from './schedule.js'

export interface UpstreamOptions {
  apiKey: string
  /** Which question an image and a prompt are; undefined for one nobody planned. */
  questionOf(imageDigest: string, prompt: unknown): number | undefined
  /** What happens to the next call; `question` is absent where the body was not read yet. */
  behave(question: number, nth: number): Behaviour
}

/** The Segmind of a run. A gateway is told to find it below `baseUrl(life)`, so that every call says which process made it. */
export interface Upstream {
  baseUrl(life: string): string
  calls: UpstreamCall[]
  /** Which call's picture these bytes are. */
  pictureOf(body: Buffer): Picture
  /** Refuses new connections from now on; those there are go on. */
  refuse(): void
  accept(): Promise<void>
  /** The calls that are neither answered nor gone. */
  open(): number
  close(): Promise<void>
}

interface Job {
  call: UpstreamCall
  behaviour: Behaviour
  doneAt: number
  /** How many more questions fail, and how many more tries to fetch the picture. */
  polls: number
  fetches: number
}

const PLENTY = 9_000_000_000_000

export async function startUpstream(options: UpstreamOptions): Promise<Upstream> {
  const upstream = new ScriptedUpstream(options)
  await upstream.accept()
  return upstream
}

class ScriptedUpstream implements Upstream {
  readonly calls: UpstreamCall[] = []
  readonly #options: UpstreamOptions
  readonly #server = createServer((request, response) => {
    response.on('error', () => {})
    this.#handle(request, response).catch(() => request.socket.destroy())
  })
  readonly #sockets = new Set<Socket>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #pictures = new Map<string, Picture>()
  readonly #jobs = new Map<string, Job>()
  readonly #asked = new Map<number, number>()
  #port = 0

  constructor(options: UpstreamOptions) {
    this.#options = options
    // A socket that is closed here while a request is on its way would be a fault nobody planned.
    this.#server.keepAliveTimeout = 0
    this.#server.on('connection', socket => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  baseUrl(life: string): string {
    return `${this.#origin}/life/${life}`
  }

  pictureOf(body: Buffer): Picture {
    return this.#pictures.get(digestOf(body)) ?? {}
  }

  refuse(): void {
    // Not http's own, which closes idle connections too.
    NetServer.prototype.close.call(this.#server)
  }

  async accept(): Promise<void> {
    if (this.#server.listening) return
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  open(): number {
    return this.calls.filter(({ endedAt }) => endedAt === undefined).length
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  get #origin(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, life = '', path = ''] = /^\/life\/([^/]+)(\/.*)$/.exec(request.url ?? '') ?? []
    const [, asker = '', output] = /^\/outputs\/([^/]+)\/([^/]+)\.jpg$/.exec(request.url ?? '') ?? []
    if (output !== undefined) return this.#giveOutput(this.#jobs.get(output), asker, request, response)
    if (request.headers['x-api-key'] !== this.#options.apiKey) return sendJson(response, 401, { error: 'no key' })
    if (path === '/v1/get-user-credits') return sendJson(response, 200, { credits: PLENTY / 1e9, 'free-credits': 0 })
    if (request.method === 'GET') return this.#tellOfJob(path, life, request, response)
    if (!/^\/v[12]\/sam-v2-image$/.test(path)) return sendJson(response, 404, { error: 'Model not found' })
    await this.#take(this.#begin(life, response), path.startsWith('/v2'), request, response)
  }

  #begin(life: string, response: ServerResponse): UpstreamCall {
    const index = this.calls.length
    const call: UpstreamCall = {
      index,
      requestId: `call-${index}`,
      life,
      kind: 'unread',
      at: Date.now(),
      cost: 0,
      billed: 'no',
      deliveries: [],
      jobTaken: false,
    }
    this.calls.push(call)
    const end = () => {
      call.endedAt ??= Date.now()
    }
    response.once('finish', end).once('close', end)
    return call
  }

  async #take(call: UpstreamCall, isJob: boolean, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { image, prompt } = parsed(await bytesOf(request))
    const question = this.#options.questionOf(digestOf(Buffer.from(image, 'base64')), prompt)
    if (question === undefined) return sendJson(response, 400, { error: 'an image or a prompt nobody planned' })
    const nth = this.#asked.get(question) ?? 0
    this.#asked.set(question, nth + 1)
    const behaviour = this.#options.behave(question, nth)
    call.kind = behaviour.kind
    call.question = question
    // As if nothing had been read: only the auditor knows that it has.
    if (behaviour.kind === 'reset-before') return void request.socket.resetAndDestroy()
    // Until there is an answer nobody can say.
    call.billed = 'maybe'
    if ('cost' in behaviour) call.cost = Math.floor(behaviour.cost / 1000) * 1000 + call.index
    if (isJob) await this.#takeJob(call, behaviour, request, response)
    else await this.#answer(call, behaviour, request, response)
  }

  async #answer(
    call: UpstreamCall,
    behaviour: Behaviour,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    await this.#pause(behaviour.delayMs)
    if (response.destroyed || behaviour.kind === 'hang') return
    if (behaviour.kind === 'reset') return void request.socket.resetAndDestroy()
    if (refuses(call, behaviour, response)) return
    call.billed = 'yes'
    call.status = 200
    const picture = this.#paint(call)
    response.writeHead(200, {
      'content-type': 'image/jpeg',
      'content-length': String(picture.length),
      'x-cost': formatCredits(call.cost),
      ...moneyHeaders(call),
    })
    if (behaviour.kind === 'normal') {
      response.once('finish', () => call.deliveries.push({ life: call.life, at: Date.now() }))
      response.end(picture)
    } else sendHalf(picture, behaviour, request, response)
  }

  /** A job is taken at once; it is what takes its time. */
  async #takeJob(
    call: UpstreamCall,
    behaviour: Behaviour,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const isJob = behaviour.kind === 'normal' || behaviour.kind === 'failed-job'
    if (!isJob) await this.#pause(behaviour.delayMs)
    if (response.destroyed || behaviour.kind === 'hang') return
    if (behaviour.kind === 'reset') return void request.socket.resetAndDestroy()
    if (refuses(call, behaviour, response)) return
    call.status = 200
    call.billed = behaviour.kind === 'failed-job' ? 'no' : 'yes'
    const troubles = 'isRough' in behaviour && behaviour.isRough ? 1 : 0
    const doneAt = Date.now() + behaviour.delayMs
    this.#jobs.set(call.requestId, { call, behaviour, doneAt, polls: troubles, fetches: troubles })
    this.#paint(call)
    const base = `${this.baseUrl(call.life)}/v2/requests/${call.requestId}`
    const said = {
      request_id: call.requestId,
      status: 'QUEUED',
      poll_url: `${this.baseUrl(call.life)}/v1/requests/${call.requestId}`,
      status_url: `${base}/status`,
      response_url: base,
    }
    const body = Buffer.from(JSON.stringify(said))
    const length = { 'content-length': String(body.length) }
    response.writeHead(200, { 'content-type': 'application/json', ...length, ...moneyHeaders(call) })
    if (!isJob) return sendHalf(body, behaviour, request, response)
    response.once('finish', () => {
      call.jobTaken = true
    })
    response.end(body)
  }

  async #tellOfJob(path: string, life: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, id = '', status] = /^\/v2\/requests\/([^/]+)(\/status)?$/.exec(path) ?? []
    const job = this.#jobs.get(id)
    if (!job) return sendJson(response, 404, { error: 'unknown request' })
    const { call } = job
    if (job.polls-- > 0) return void request.socket.resetAndDestroy()
    if (Date.now() < job.doneAt) return sendJson(response, 200, { request_id: id, status: 'PROCESSING' })
    if (job.behaviour.kind === 'failed-job')
      return sendJson(response, 422, { request_id: id, status: 'FAILED', error: 'inference failed' })
    if (status) return sendJson(response, 200, { request_id: id, status: 'COMPLETED' })
    // Written by hand: a cost has more digits than a double is sure to keep.
    const metrics = `{"cost":${formatCredits(call.cost)},"remaining_credits":${formatCredits(PLENTY - call.index)}}`
    const output = `${this.#origin}/outputs/${life}/${id}.jpg`
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(`{"request_id":"${id}","status":"COMPLETED","output":"${output}","metrics":${metrics}}`)
  }

  async #giveOutput(
    job: Job | undefined,
    life: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (!job) return sendJson(response, 404, { error: 'no such picture' })
    const picture = this.#paint(job.call)
    response.writeHead(200, { 'content-type': 'image/jpeg', 'content-length': String(picture.length) })
    if (job.fetches-- > 0) return sendHalf(picture, { kind: 'cut' }, request, response)
    response.once('finish', () => job.call.deliveries.push({ life, at: Date.now() }))
    response.end(picture)
  }

  /** Another picture for every call, so that each answer says which call it came from. */
  #paint({ requestId, question, index }: UpstreamCall): Buffer {
    const picture = fakePicture({ image: { digest: `${question}`, byteLength: 0 }, fields: { index } })
    this.#pictures.set(digestOf(picture), { requestId, ...(question !== undefined && { question }) })
    return picture
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
  }
}

/** Answers a refusal, which is never billed. */
function refuses(call: UpstreamCall, behaviour: Behaviour, response: ServerResponse): boolean {
  if (behaviour.kind !== 'busy' && behaviour.kind !== 'server-error') return false
  call.billed = 'no'
  call.status = behaviour.kind === 'busy' ? 429 : behaviour.status
  const reset =
    behaviour.kind === 'busy'
      ? { 'x-rate-limit-reset-at-utc': new Date(Date.now() + behaviour.waitMs).toISOString() }
      : {}
  response.writeHead(call.status, { 'content-type': 'application/json', ...reset, 'x-request-id': call.requestId })
  response.end(JSON.stringify({ error: `planned ${behaviour.kind}` }))
  return true
}

function sendHalf(body: Buffer, { kind }: { kind: string }, request: IncomingMessage, response: ServerResponse): void {
  const half = body.subarray(0, Math.ceil(body.length / 2))
  response.write(half, () => {
    if (kind === 'cut') request.socket.destroy()
  })
}

function moneyHeaders({ requestId, index }: UpstreamCall): Record<string, string> {
  return { 'x-request-id': requestId, 'x-remaining-credits': formatCredits(PLENTY - index) }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function parsed(body: Buffer): { image: string; prompt: unknown } {
  const { image, prompt } = JSON.parse(body.toString('utf8')) as Record<string, unknown>
  return { image: String(image), prompt }
}

const digestOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
