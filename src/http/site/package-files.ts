import { access } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/**
 * Finds a file of the installed package: in a folder above this module, or in its `dist/`, where
 * tests run from another build. Rejects when the file is missing.
 */
export async function findPackageFile(name: string): Promise<string> {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    for (const candidate of [new URL(name, folder), new URL(`dist/${name}`, folder)]) {
      const isFound = await access(candidate).then(
        () => true,
        () => false,
      )
      if (isFound) return fileURLToPath(candidate)
    }
    if (folder.pathname === '/') throw new Error(`${name} is missing from the installation; run npm run build`)
  }
}
