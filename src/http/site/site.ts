import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Content, readContents } from './content.js'
import { findPackageFile } from './package-files.js'

/** The files behind the public pages. Never changes: gateways of one process can share it. */
export interface Site {
  /** The text of openapi.yaml. */
  description: string
  /** The text of docs/runbook.md. */
  runbook: string
  /** The browser pages and their files, by name. */
  pages: ReadonlyMap<string, Content>
  /** The client for browsers and Node.js, by file name. */
  client: ReadonlyMap<string, Content>
}

/** Reads the files from the installed package. Rejects when one is missing. */
export async function readSite(): Promise<Site> {
  const root = dirname(dirname(await findPackageFile('pages/playground.html')))
  return {
    description: await readFile(await findPackageFile('openapi.yaml'), 'utf8'),
    runbook: await readFile(await findPackageFile('docs/runbook.md'), 'utf8'),
    pages: readContents(join(root, 'pages')),
    client: readContents(join(root, 'client')),
  }
}
