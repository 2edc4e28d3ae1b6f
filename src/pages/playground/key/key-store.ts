import { tryStorage } from '../../storage.js'

const NAME = 'segmind-gateway.team-key'

/** Reads the key of this tab, or the one remembered on this device. */
export function storedKey(): string | undefined {
  return tryStorage(() => sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME)) ?? undefined
}

export function storeKey(key: string, isRemembered: boolean): void {
  forgetKey()
  tryStorage(() => (isRemembered ? localStorage : sessionStorage).setItem(NAME, key))
}

export function forgetKey(): void {
  tryStorage(() => sessionStorage.removeItem(NAME))
  tryStorage(() => localStorage.removeItem(NAME))
}
