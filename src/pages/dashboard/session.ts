import type { Session } from './api.js'

const NAME = 'segmind-gateway.operator'

/** The key is kept for this tab and until it is closed, nowhere else. */
export function storedSession(): Session | undefined {
  try {
    const { key, name } = JSON.parse(sessionStorage.getItem(NAME) ?? '{}') as Partial<Session>
    return typeof key === 'string' && key !== '' ? { key, name: typeof name === 'string' ? name : '' } : undefined
  } catch {
    return undefined
  }
}

export function storeSession(session: Session): void {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(session))
  } catch {
    // A browser that keeps nothing asks again.
  }
}

export function forgetSession(): void {
  try {
    sessionStorage.removeItem(NAME)
  } catch {
    // Nothing is kept.
  }
}
