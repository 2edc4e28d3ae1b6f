import { once } from 'node:events'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { segmentForm } from '../support/gateway/gateway.js'
import type { ClientOutcome, FinalAnswer } from './history.js'
import type { Upstream } from './upstream.js'

export interface SegmentRequest {
  url: string
  id: string
  key: string
  prompt: string
  image: Buffer
  /** Sends a form, otherwise JSON. */
  asForm: boolean
  abortAfterMs?: number
  /** Timeout after which the request counts as lost. */
  timeoutMs: number
}

/** Sends `POST /segment` and classifies the result. Never throws. */
export async function sendRequest(sent: SegmentRequest, upstream: Upstream): Promise<ClientOutcome> {
  const leave = new AbortController()
  const { abortAfterMs, timeoutMs } = sent
  const timer = setTimeout(() => leave.abort(), abortAfterMs ?? timeoutMs)
  try {
    return await outcomeOf(await send(sent, leave.signal), upstream)
  } catch (error) {
    if (leave.signal.aborted && abortAfterMs !== undefined) return { kind: 'aborted' }
    return { kind: 'broken', message: leave.signal.aborted ? 'no response' : reasonOf(error) }
  } finally {
    clearTimeout(timer)
  }
}

/** Sends `POST /segment` with `only-if-cached`. */
export async function requestCached(
  sent: SegmentRequest,
  upstream: Upstream,
): Promise<Pick<FinalAnswer, 'status' | 'cache' | 'picture'>> {
  const leave = AbortSignal.timeout(sent.timeoutMs)
  const { status, headers, body } = await send(sent, leave, { 'cache-control': 'only-if-cached' })
  return { status, cache: text(headers['x-cache']), ...(status === 200 && { picture: upstream.pictureOf(body) }) }
}

interface ReceivedResponse {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/**
 * Uses a new connection. A kept-alive connection may close just as it is reused, which is not a
 * fault of the gateway.
 */
async function send(
  sent: SegmentRequest,
  signal: AbortSignal,
  extraHeaders: Record<string, string> = {},
): Promise<ReceivedResponse> {
  const { url, id, key, prompt, image, asForm } = sent
  const upload = new Response(asForm ? segmentForm({ prompt }, image) : jsonBody(prompt, image))
  const body = Buffer.from(await upload.arrayBuffer())
  const type = asForm ? upload.headers.get('content-type') : 'application/json'
  const length = { 'content-type': type ?? '', 'content-length': String(body.length) }
  const headers = { 'x-api-key': key, 'x-request-id': id, ...length, ...extraHeaders }
  const outgoing = request(`${url}/segment`, { method: 'POST', headers, agent: false, signal })
  const responded = once(outgoing, 'response')
  outgoing.end(body)
  const [incoming] = (await responded) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(chunks) }
}

function jsonBody(prompt: string, image: Buffer): string {
  return JSON.stringify({ image: image.toString('base64'), prompt })
}

function outcomeOf({ status, headers, body }: ReceivedResponse, upstream: Upstream): ClientOutcome {
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
