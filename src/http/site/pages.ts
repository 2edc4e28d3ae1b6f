import type { FastifyInstance } from 'fastify'
import { addContent, addContents, type Content } from './content.js'
import type { Site } from './site.js'

/** Pages by path. */
const PAGES: Readonly<Record<string, string>> = {
  '/': 'playground.html',
  '/dashboard': 'dashboard.html',
  '/docs': 'docs.html',
  '/docs/': 'docs.html',
}

/**
 * Adds the browser pages: the playground, the dashboard and the API reference, and their files
 * below `/pages/` and `/client/`. The pages contain no secret; each prompts for a key.
 */
export function addPagesRoutes(app: FastifyInstance, { pages, client }: Site): void {
  addContents(app, '/pages/', pages)
  addContents(app, '/client/', client)
  for (const [url, name] of Object.entries(PAGES)) addContent(app, url, () => pages.get(name) as Content)
}
