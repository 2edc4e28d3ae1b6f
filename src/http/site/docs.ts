import type { FastifyInstance } from 'fastify'
import { parse } from 'yaml'
import { addContent, toContent } from './content.js'
import { errorsPage } from './errors-page.js'
import { renderPage } from './html-page.js'
import { runbookPage } from './runbook-page.js'
import type { Site } from './site.js'

/**
 * Adds the API description as YAML and JSON, and the pages that problems and alerts link to:
 * `/docs/errors`, `/docs/runbook`.
 */
export function addDocsRoutes(app: FastifyInstance, { description, runbook }: Site): void {
  const yaml = toContent(description, '.yaml')
  for (const url of ['/openapi.yaml', '/docs/yaml']) addContent(app, url, () => yaml)
  // Parsing takes longer than the rest of the start together.
  addContent(app, '/docs/json', () => toContent(JSON.stringify(parse(description)), '.json'))
  addContent(app, '/docs/errors', () => renderPage(errorsPage()))
  addContent(app, '/docs/runbook', () => renderPage(runbookPage(runbook)))
}
