/** Runs an access to the browser's storage. Returns undefined if the browser forbids it. */
export function tryStorage<T>(access: () => T): T | undefined {
  try {
    return access()
  } catch {
    return undefined
  }
}
