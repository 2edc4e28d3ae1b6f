import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { segmentForm } from '../support/gateway.js'
import type { ClientOutcome, FinalAnswer } from './history.js'
import type { Upstream } from './upstream.js'

export interface Asking {
  url: string
  id: string
  key: string
  prompt: string
  image: Buffer
  /** Some apps send a form, some JSON. */
  asForm: boolean
  abortAfterMs?: number
  /** After so long the client counts as forgotten. */
  giveUpMs: number
}

/** Asks a gateway as an app does. Never throws. */
export async function askGateway(asking: Asking, upstream: Upstream): Promise<ClientOutcome> {
  const leave = new AbortController()
  const { abortAfterMs, giveUpMs } = asking
  const timer = setTimeout(() => leave.abort(), abortAfterMs ?? giveUpMs)
  try {
    return await outcomeOf(await send(asking, leave.signal), upstream)
  } catch (error) {
    if (leave.signal.aborted && abortAfterMs !== undefined) return { kind: 'aborted' }
    return { kind: 'broken', message: leave.signal.aborted ? 'never answered' : reasonOf(error) }
  } finally {
    clearTimeout(timer)
  }
}

/** Asks for what is cached, and nothing else. */
export async function askForCached(
  asking: Asking,
  upstream: Upstream,
): Promise<Pick<FinalAnswer, 'status' | 'cache' | 'picture'>> {
  const leave = AbortSignal.timeout(asking.giveUpMs)
  const { status, headers, body } = await send(asking, leave, { 'cache-control': 'only-if-cached' })
  return { status, cache: text(headers['x-cache']), ...(status === 200 && { picture: upstream.pictureOf(body) }) }
}

interface Answered {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** On a connection of its own: one that is kept alive may end just when it is used again, which is nobody's fault. */
async function send(asking: Asking, signal: AbortSignal, more: Record<string, string> = {}): Promise<Answered> {
  const { url, id, key, prompt, image, asForm } = asking
  const upload = new Response(asForm ? segmentForm({ prompt }, image) : textOf(prompt, image))
  const body = Buffer.from(await upload.arrayBuffer())
  const type = asForm ? upload.headers.get('content-type') : 'application/json'
  const length = { 'content-type': type ?? '', 'content-length': String(body.length) }
  const headers = { 'x-api-key': key, 'x-request-id': id, ...length, ...more }
  const outgoing = request(`${url}/segment`, { method: 'POST', headers, agent: false, signal })
  const answering = once(outgoing, 'response')
  outgoing.end(body)
  const [incoming] = (await answering) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) }
}

function textOf(prompt: string, image: Buffer): string {
  return JSON.stringify({ image: image.toString('base64'), prompt })
}

function outcomeOf({ status, headers, body }: Answered, upstream: Upstream): ClientOutcome {
  if (status === 200) {
    const picture = upstream.pictureOf(body)
    return { kind: 'answered', cache: text(headers['x-cache']), cost: text(headers['x-cost']), picture }
  }
  return { kind: 'problem', status, contentType: text(headers['content-type']), code: codeOf(body) }
}

function text(header: string | string[] | undefined): string {
  return String(header ?? '')
}

function codeOf(body: Buffer): string | undefined {
  try {
    const { code } = JSON.parse(body.toString('utf8')) as Record<string, unknown>
    return typeof code === 'string' ? code : undefined
  } catch {
    return undefined
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as Error & { code?: string }
  return code ?? message
}
