import { access } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'

/**
 * What a page may do: load its own files, show pictures that it holds itself, ask this gateway. No inline code or style, no other server, no frame
 * around it. Nothing is upgraded to https: a gateway inside a company may well have none.
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
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  // Asked again each time, and answered with 304: pages and gateway are of one version.
  'cache-control': 'no-cache',
}

/** Pages for browsers: the playground at `/`, the operations page at `/dashboard`; what they are made of below `/pages/` and `/client/`. They hold no secret: each asks for a key. */
export async function addPagesRoutes(app: FastifyInstance): Promise<void> {
  const root = await compiledFolder('pages/index.html')
  await app.register(async pages => {
    pages.addHook('onSend', async (_request, reply) => {
      reply.headers(HEADERS)
    })
    const shared = { preCompressed: true, cacheControl: false, index: false as const }
    await pages.register(fastifyStatic, { ...shared, root: `${root}/pages`, prefix: '/pages/' })
    await pages.register(fastifyStatic, { ...shared, root: `${root}/client`, prefix: '/client/', decorateReply: false })
    pages.get('/', (_request, reply) => reply.sendFile('index.html'))
    pages.get('/dashboard', (_request, reply) => reply.sendFile('dashboard.html'))
  })
}

/** The folder of the compiled package that has a file: this one lies in it, or, where tests compile it for themselves, beside it. */
async function compiledFolder(file: string): Promise<string> {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    for (const candidate of [new URL('.', folder), new URL('dist/', folder)]) {
      const found = await access(new URL(file, candidate)).then(
        () => true,
        () => false,
      )
      if (found) return fileURLToPath(candidate).replace(/[\\/]$/, '')
    }
    if (folder.pathname === '/') throw new Error(`${file} is missing from the installation: npm run build makes it`)
  }
}
