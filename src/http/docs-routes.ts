import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { ERRORS } from '../errors.js'
import { runbookPage } from './runbook-page.js'

/**
 * What the page of `/docs` may load: its own files, and the pictures it is answered when it is tried (`blob:`). Nothing is
 * upgraded to https, which the plugin's own policy asks for: a gateway inside a company may well have none.
 */
const DOCS_POLICY = [
  "default-src 'self'",
  "img-src 'self' data: blob:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** `/openapi.yaml`, `/docs` (to read and try it), and what problems and alerts lead to: `/docs/errors`, `/docs/runbook`. */
export async function addDocsRoutes(app: FastifyInstance): Promise<void> {
  const file = await findUpwards('openapi.yaml')
  const text = await readFile(file)
  await app.register(swagger, { mode: 'static', specification: { path: file, baseDir: dirname(file) } })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: DOCS_POLICY,
    uiConfig: { tryItOutEnabled: true },
    theme: { title: 'segmind-gateway' },
  })
  app.get('/openapi.yaml', async (_request, reply) => reply.type('application/yaml; charset=utf-8').send(text))
  addPage(app, '/docs/errors', errorsPage())
  addPage(app, '/docs/runbook', runbookPage(await readFile(await findUpwards('docs/runbook.md'), 'utf8')))
}

/** A page that loads nothing. */
function addPage(app: FastifyInstance, path: string, page: string): void {
  app.get(path, async (_request, reply) =>
    reply
      .header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      .type('text/html; charset=utf-8')
      .send(page),
  )
}

/** A file of the package: beside the sources, or however deep the compiled ones lie below it. */
async function findUpwards(name: string): Promise<string> {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    const file = fileURLToPath(new URL(name, folder))
    const found = await readFile(file).then(
      () => true,
      () => false,
    )
    if (found) return file
    if (folder.pathname === '/') throw new Error(`${name} is missing from the installation`)
  }
}

function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, title, retryable }]) =>
      `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${title}</td><td>${retryable ? 'yes' : 'no'}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Errors of segmind-gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #8886}tr:target{background:#fc03}</style>
</head><body><h1>Errors</h1>
<p>Every error is <code>application/problem+json</code>. Decide by <code>code</code>. Where <code>retryable</code> is true the same request may succeed later:
wait for <code>Retry-After</code> and send it again; else change it first. <code>billed</code> says whether this request cost credits: <code>no</code>, <code>yes</code>,
or <code>unknown</code> when the answer never came. <code>requestId</code> finds the request in the gateway's log.</p>
<table><thead><tr><th>code</th><th>status</th><th>meaning</th><th>retryable</th></tr></thead><tbody>
${rows.join('\n')}
</tbody></table></body></html>`
}
