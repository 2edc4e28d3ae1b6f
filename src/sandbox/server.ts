import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { fromCredits, type Nanocredits, toCredits } from '../nanocredits.js'
import { Account } from './account.js'
import type { Desk } from './desk.js'
import { answerImage } from './image-route.js'
import { answerJob, answerOutput, answerSubmit, OUTPUTS, type View } from './job-routes.js'
import { Jobs } from './jobs.js'
import { Segmenter } from './segmenter.js'

export interface SandboxOptions {
  /** Default `127.0.0.1`. */
  host?: string
  /** Default 0: a free one. */
  port?: number
  /** The one key it lets in, as `x-api-key`. */
  apiKey: string
  /** What the account holds at the start, in credits. Default 10. */
  credits?: number
  /** Added to the time each picture takes. Default 0. */
  latencyMs?: number
  /** Milliseconds since 1970; for tests. */
  now?: () => number
  /** Waits for latency and delays, at most until the signal; for tests. */
  wait?: Desk['wait']
}

/** A running stand-in for Segmind. */
export interface Sandbox {
  /** `http://host:port`, without a slash at the end: the gateway's `SEGMIND_BASE_URL`. */
  readonly url: string
  readonly apiKey: string
  /** Pictures that were billed so far. */
  readonly calls: number
  /** Image requests that arrived with a good key so far, billed or not. */
  readonly requests: number
  /** What the account holds now. */
  credits(): Nanocredits
  /** Cuts open connections, ends the worker thread, fails jobs that are not done, frees the port. */
  close(): Promise<void>
}

const MAX_BODY_BYTES = 40 * 1024 * 1024
/** More than Node takes in a request line: an id of any length is unknown, not an error of the router. */
const MAX_ID_LENGTH = 65_536
/** The account's free credits are used up first (SEGMIND.md, balance). */
const FREE_CREDITS = fromCredits(0.5)
/** What may be done where. */
const VERBS: readonly (readonly [path: RegExp, verbs: string])[] = [
  [/^\/v[12]\/sam-v2-image$/, 'POST'],
  [/^\/v1\/get-user-credits$/, 'GET, HEAD'],
  [/^\/v[12]\/requests\/[^/]+$/, 'GET, HEAD'],
  [/^\/v2\/requests\/[^/]+\/status$/, 'GET, HEAD'],
  [/^\/outputs\/[^/]+$/, 'GET, HEAD'],
]

/** Starts a local Segmind for `sam-v2-image`: its wire contract (SEGMIND.md) with real pictures and pretended money. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { host = '127.0.0.1', port = 0, apiKey, credits = 10, latencyMs = 0, now = Date.now, wait = sleep } = options
  const closing = new AbortController()
  setMaxListeners(0, closing.signal) // one for each wait
  const account = new Account(fromCredits(credits))
  const segmenter = new Segmenter()
  const desk: Desk = { account, segmenter, latencyMs, now, wait, closing: closing.signal }
  const jobs = new Jobs(desk)
  const seen = { requests: 0 }
  const app = buildApp({ desk, jobs, apiKey, seen })
  await app.listen({ host, port })
  return {
    url: urlOf(host, app.server.address() as AddressInfo),
    apiKey,
    get calls() {
      return account.calls
    },
    get requests() {
      return seen.requests
    },
    credits: () => account.balance,
    close: async () => {
      closing.abort()
      await app.close()
      await segmenter.close()
      await jobs.settled()
    },
  }
}

/** Makes a key of Segmind's form: `SG_` and 16 hex digits. */
export function newSandboxKey(): string {
  return `SG_${randomBytes(8).toString('hex')}`
}

async function sleep(milliseconds: number, until: AbortSignal): Promise<void> {
  await setTimeout(milliseconds, undefined, { signal: until }).catch(() => undefined)
}

interface House {
  desk: Desk
  jobs: Jobs
  apiKey: string
  seen: { requests: number }
}

function buildApp(house: House): FastifyInstance {
  const app = Fastify({
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: true,
    logger: false,
    routerOptions: { maxParamLength: MAX_ID_LENGTH },
  })
  const checkKey = keyCheck(house.apiKey)
  app.register(multipart, { limits: { fileSize: MAX_BODY_BYTES, fieldSize: MAX_BODY_BYTES, files: 1, fields: 20 } })
  app.setErrorHandler(answerError)
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('*', (_request, _payload, done) => done(invalidContentType()))
  app.setNotFoundHandler((request, reply) => answerUnknown(checkKey, request, reply))
  app.after(() => {
    openImageDoors(app, house, checkKey)
    openReadingDoors(app, house, checkKey)
  })
  return app
}

function openImageDoors(app: FastifyInstance, { desk, jobs, seen }: House, onRequest: KeyCheck): void {
  const arrive = (request: FastifyRequest) => {
    seen.requests++
    if (request.headers['content-type'] === undefined) throw invalidContentType()
  }
  app.post('/v1/sam-v2-image', { onRequest }, (request, reply) => {
    arrive(request)
    return answerImage(desk, request, reply)
  })
  app.post('/v2/sam-v2-image', { onRequest }, (request, reply) => {
    arrive(request)
    return answerSubmit({ desk, jobs }, request, reply)
  })
}

function openReadingDoors(app: FastifyInstance, { desk, jobs }: House, onRequest: KeyCheck): void {
  app.get('/v1/get-user-credits', { onRequest }, () => {
    const free = Math.min(desk.account.balance, FREE_CREDITS)
    return { credits: toCredits(desk.account.balance - free), 'free-credits': toCredits(free) }
  })
  const views: readonly [path: string, view: View][] = [
    ['/v1/requests/:id', 'v1'],
    ['/v2/requests/:id/status', 'status'],
    ['/v2/requests/:id', 'result'],
  ]
  for (const [path, view] of views) {
    app.get<{ Params: { id: string } }>(path, { onRequest }, (request, reply) => answerJob(jobs, view, request, reply))
  }
  app.get<{ Params: { name: string } }>(`${OUTPUTS}/:name`, (request, reply) => answerOutput(jobs, request, reply))
}

type KeyCheck = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>

function keyCheck(apiKey: string): KeyCheck {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const good = digest(apiKey)
  return async (request, reply) => {
    const key = request.headers['x-api-key']
    if (typeof key === 'string' && timingSafeEqual(digest(key), good)) return undefined
    const error = key === undefined ? 'Missing Authorization or x-api-key in header' : 'Invalid API key'
    return reply.code(401).send({ error })
  }
}

/** A wrong verb (HTML, before any key check) or an unknown model. */
async function answerUnknown(checkKey: KeyCheck, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const path = request.url.split('?')[0] ?? ''
  const verbs = VERBS.find(([pattern]) => pattern.test(path))?.[1]
  if (verbs !== undefined) {
    const html = '<!doctype html><html><body><h1>405 Method Not Allowed</h1></body></html>'
    return reply.code(405).header('allow', verbs).type('text/html; charset=utf-8').send(html)
  }
  return (await checkKey(request, reply)) ?? reply.code(404).send({ error: 'Model not found' })
}

/** Fastify's and the multipart plugin's own failures in Segmind's words. */
function answerError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 0
  if (status === 406 || status === 415) return reply.code(406).send({ error: 'Invalid content type' })
  if (status === 413) return reply.code(413).send({ error: 'Request body too large' })
  if (status >= 500) return reply.code(500).send({ error: 'Internal server error' })
  return reply.code(400).send({ error: 'Malformed request body' })
}

function invalidContentType(): Error & { statusCode: number } {
  return Object.assign(new Error('Invalid content type'), { statusCode: 406 })
}

function urlOf(host: string, address: AddressInfo): string {
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${host === 'localhost' ? 'localhost' : name}:${address.port}`
}
