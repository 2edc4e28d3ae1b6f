/** Who in this process waits for which name. */
export interface Watchers {
  /** Answers how to stop. */
  watch(name: string, onTold: () => void): () => void
  tell(name: string): void
}

export function createWatchers(): Watchers {
  const watchers = new Map<string, Set<{ onTold(): void }>>()
  return {
    watch(name, onTold) {
      const watcher = { onTold }
      const those = watchers.get(name) ?? new Set()
      watchers.set(name, those.add(watcher))
      return () => {
        those.delete(watcher)
        if (those.size === 0 && watchers.get(name) === those) watchers.delete(name)
      }
    },
    tell(name) {
      for (const { onTold } of [...(watchers.get(name) ?? [])]) onTold()
    },
  }
}
