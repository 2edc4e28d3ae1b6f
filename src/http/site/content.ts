import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, relative, sep } from 'node:path'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../../contracts/errors.js'
import { acceptsEncoding } from '../server/accept-encoding.js'
import { matchesTag } from '../server/entity-tag.js'

/**
 * Lets pages load their own files, show images they created, and call this gateway. Forbids inline
 * code and styles, other servers and framing. Does not upgrade to https: a gateway inside a company
 * may not have it.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  // Revalidated at each load, so that pages and gateway are of one version.
  'cache-control': 'no-cache',
  vary: 'accept-encoding',
}

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.ts': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.yaml': 'application/yaml; charset=utf-8',
}

/** Content codings by the suffix of a compressed copy, best first. */
const CODINGS = { br: '.br', gzip: '.gz' } as const
type Coding = keyof typeof CODINGS

/** A public response, prepared once. All requests share its buffers, so none costs memory. */
export interface Content {
  headers: Record<string, string>
  /** Quoted hash of `body`, without the closing quote: copies add their coding. */
  tag: string
  body: Buffer
  copies: [coding: Coding, body: Buffer][]
}

/** Prepares a response. `extension` gives its media type. */
export function toContent(body: Buffer | string, extension: string, policy = POLICY): Content {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  return {
    headers: {
      ...HEADERS,
      'content-security-policy': policy,
      'content-type': TYPES[extension] ?? 'application/octet-stream',
    },
    tag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}`,
    body: bytes,
    copies: [],
  }
}

/**
 * Reads every file of a folder, with its compressed copies. The names have `/` on every system.
 * Blocks: at the start, this takes a fifth of the time of asynchronous reads.
 */
export function readContents(folder: string): Map<string, Content> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  const files = new Map(paths.map(path => [path, readFileSync(path)]))
  const contents = new Map<string, Content>()
  const isCopy = (path: string) => Object.values(CODINGS).some(suffix => path.endsWith(suffix))
  for (const [path, body] of files) {
    if (isCopy(path)) continue
    const content = toContent(body, extname(path))
    for (const [coding, suffix] of Object.entries(CODINGS)) {
      const copy = files.get(path + suffix)
      if (copy) content.copies.push([coding as Coding, copy])
    }
    contents.set(relative(folder, path).split(sep).join('/'), content)
  }
  return contents
}

/** Adds a public route. `prepare` runs at its first request. */
export function addContent(app: FastifyInstance, url: string, prepare: () => Content): void {
  let content: Content | undefined
  app.get(url, async (request, reply) => {
    content ??= prepare()
    return sendContent(request, reply, content)
  })
}

/** Adds files below `prefix`. Answers `not_found` for other names. */
export function addContents(app: FastifyInstance, prefix: string, contents: ReadonlyMap<string, Content>): void {
  app.route<{ Params: { '*': string } }>({
    method: ['GET', 'HEAD'],
    url: `${prefix}*`,
    handler: async (request, reply) => {
      const content = contents.get(request.params['*'])
      if (!content) throw new GatewayError('not_found', 'No route has this path.')
      return sendContent(request, reply, content)
    },
  })
}

function sendContent(request: FastifyRequest, reply: FastifyReply, content: Content): FastifyReply {
  const { headers, tag, body, copies } = content
  const [coding, bytes] = copies.find(([name]) => acceptsEncoding(request, name)) ?? ['', body]
  const etag = coding ? `${tag}-${coding}"` : `${tag}"`
  reply.headers(headers).header('etag', etag)
  if (matchesTag(request.headers['if-none-match'], etag)) return reply.code(304).send()
  if (coding) reply.header('content-encoding', coding)
  return reply.send(bytes)
}
