const NAME = 'segmind-gateway.team-key'

/** The key of this tab, or of this device where the user wished so. */
export function storedKey(): string | undefined {
  return read(() => sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME)) ?? undefined
}

export function storeKey(key: string, isRemembered: boolean): void {
  forgetKey()
  read(() => (isRemembered ? localStorage : sessionStorage).setItem(NAME, key))
}

export function forgetKey(): void {
  read(() => sessionStorage.removeItem(NAME))
  read(() => localStorage.removeItem(NAME))
}

/** A browser may forbid to store anything: the key is then asked for each time. */
function read<T>(access: () => T): T | undefined {
  try {
    return access()
  } catch {
    return undefined
  }
}
