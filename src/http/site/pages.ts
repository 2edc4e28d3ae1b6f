import { dirname, join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { addContent, addContents, type Content, readContents } from './content.js'
import { findPackageFile } from './package-files.js'

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
export async function addPagesRoutes(app: FastifyInstance): Promise<void> {
  const root = dirname(dirname(await findPackageFile('pages/playground.html')))
  const pages = await readContents(join(root, 'pages'))
  addContents(app, '/pages/', pages)
  addContents(app, '/client/', await readContents(join(root, 'client')))
  for (const [url, name] of Object.entries(PAGES)) addContent(app, url, () => pages.get(name) as Content)
}
