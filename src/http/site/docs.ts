import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'
import { parse } from 'yaml'
import { addContent, toContent } from './content.js'
import { errorsPage } from './errors-page.js'
import { renderPage } from './html-page.js'
import { findPackageFile } from './package-files.js'
import { runbookPage } from './runbook-page.js'

/**
 * Adds the API description as YAML and JSON, and the pages that problems and alerts link to:
 * `/docs/errors`, `/docs/runbook`.
 */
export async function addDocsRoutes(app: FastifyInstance): Promise<void> {
  const yaml = await readFile(await findPackageFile('openapi.yaml'), 'utf8')
  const runbook = await readFile(await findPackageFile('docs/runbook.md'), 'utf8')
  const description = toContent(yaml, '.yaml')
  for (const url of ['/openapi.yaml', '/docs/yaml']) addContent(app, url, () => description)
  // Parsing takes longer than the rest of the start together.
  addContent(app, '/docs/json', () => toContent(JSON.stringify(parse(yaml)), '.json'))
  addContent(app, '/docs/errors', () => renderPage(errorsPage()))
  addContent(app, '/docs/runbook', () => renderPage(runbookPage(runbook)))
}
