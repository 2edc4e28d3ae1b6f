import { make } from './dom.js'

const KEPT_MS = 60_000

/** Hands something to the browser as a file to save. */
export function save(content: Blob, name: string): void {
  const href = URL.createObjectURL(content)
  make('a', { href, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(href), KEPT_MS)
}
