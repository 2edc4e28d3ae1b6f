import type { Connection } from './send.js'

/** Progress of a request. Bytes count the request body. */
export interface Progress {
  phase: 'hashing' | 'requesting' | 'uploading' | 'waiting' | 'receiving'
  sentBytes?: number
  totalBytes?: number
}

export type OnProgress = (progress: Progress) => void

interface Form {
  fields: Readonly<Record<string, string>>
  image: Blob
}

interface Upload extends Form {
  path: string
  headers: Record<string, string>
  signal: AbortSignal | undefined
  onProgress: OnProgress | undefined
}

/** The used part of `XMLHttpRequest`, the only API that reports upload progress in browsers. */
interface BrowserRequest {
  open(method: string, url: string): void
  setRequestHeader(name: string, value: string): void
  getAllResponseHeaders(): string
  send(body: FormData): void
  abort(): void
  responseType: string
  response: Blob | null
  status: number
  upload: { onprogress: ((event: { loaded: number; total: number }) => void) | null }
  onload: (() => void) | null
  onerror: (() => void) | null
  onabort: (() => void) | null
}

const CHUNK_BYTES = 64 * 1024

/** Sends a form with an image. Rejects without a response or if the signal is aborted. */
export async function sendForm(connection: Connection, upload: Upload): Promise<Response> {
  const { path, headers, signal, onProgress } = upload
  const url = connection.url + path
  if (!onProgress)
    return connection.fetch(url, { method: 'POST', headers, body: toForm(upload), signal: signal ?? null })
  const { XMLHttpRequest: Xhr } = globalThis as { XMLHttpRequest?: new () => BrowserRequest }
  if (Xhr && !connection.isFetchCustom) return sendByXhr(new Xhr(), url, upload, onProgress)
  return sendByStream(connection, url, upload, onProgress)
}

function toForm({ fields, image }: Form): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.set(name, value)
  form.set('image', image, 'image')
  return form
}

function sendByXhr(request: BrowserRequest, url: string, upload: Upload, onProgress: OnProgress): Promise<Response> {
  const { headers, signal } = upload
  return new Promise<Response>((resolve, reject) => {
    const abort = () => request.abort()
    const onEnd = (finish: () => void) => () => {
      signal?.removeEventListener('abort', abort)
      finish()
    }
    request.open('POST', url)
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value)
    request.responseType = 'blob'
    request.upload.onprogress = ({ loaded, total }) =>
      onProgress({ phase: 'uploading', sentBytes: loaded, totalBytes: total })
    request.onload = onEnd(() => resolve(toResponse(request)))
    request.onerror = onEnd(() => reject(new TypeError('the request failed')))
    request.onabort = onEnd(() => reject(signal?.reason))
    signal?.addEventListener('abort', abort, { once: true })
    request.send(toForm(upload))
  })
}

function toResponse(request: BrowserRequest): Response {
  const headers = new Headers()
  for (const line of request.getAllResponseHeaders().trim().split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  const isEmpty = [204, 205, 304].includes(request.status)
  return new Response(isEmpty ? null : request.response, { status: request.status, headers })
}

/** Sends the form as a stream, one chunk at a time, and reports each chunk. */
function sendByStream(
  { fetch }: Connection,
  url: string,
  { headers, signal, ...form }: Upload,
  onProgress: OnProgress,
): Promise<Response> {
  const boundary = `form-${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`
  const body = toBlob(form, boundary)
  let sentBytes = 0
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const chunk = body.slice(sentBytes, sentBytes + CHUNK_BYTES)
      if (chunk.size === 0) return controller.close()
      controller.enqueue(new Uint8Array(await chunk.arrayBuffer()))
      sentBytes += chunk.size
      onProgress({ phase: 'uploading', sentBytes, totalBytes: body.size })
    },
  })
  const init = { method: 'POST', body: stream, duplex: 'half', signal: signal ?? null }
  const type = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  return fetch(url, { ...init, headers: { ...headers, ...type } } as RequestInit)
}

/** Encodes a form (RFC 7578). Field names need no escaping: they are constants. */
function toBlob({ fields, image }: Form, boundary: string): Blob {
  const texts = Object.entries(fields).map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  const file = `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\nContent-Type: application/octet-stream\r\n\r\n`
  return new Blob([...texts, file, image, `\r\n--${boundary}--\r\n`])
}
