import { tryStorage } from '../../storage.js'
import type { Session } from './operator-api.js'

const NAME = 'segmind-gateway.operator'

/** Reads the session of this tab. It is stored until the tab is closed. */
export function storedSession(): Session | undefined {
  const { key, name } = tryStorage(() => JSON.parse(sessionStorage.getItem(NAME) ?? '{}') as Partial<Session>) ?? {}
  return typeof key === 'string' && key !== '' ? { key, name: typeof name === 'string' ? name : '' } : undefined
}

export function storeSession(session: Session): void {
  tryStorage(() => sessionStorage.setItem(NAME, JSON.stringify(session)))
}

export function forgetSession(): void {
  tryStorage(() => sessionStorage.removeItem(NAME))
}
