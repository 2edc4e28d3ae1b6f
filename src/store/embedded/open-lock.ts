import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import locks from 'fs-native-extensions'

/**
 * Lets a process open an LMDB file only while no process writes to it.
 *
 * LMDB (`mdb_env_open2`) reads the number of the last transaction and then sets it for all
 * processes, without a lock. If another process commits in between, the next transaction overwrites
 * that commit.
 *
 * The kernel keeps the locks for an open file, so they end with the process and work across
 * containers.
 */
export interface OpenLock {
  /** Runs `work`, which writes, while no process opens the file. */
  write<T>(work: () => Promise<T>): Promise<T>
  /**
   * Runs `work`, which opens the file, while no other process writes or opens. `write` does not
   * wait in it.
   */
  open<T>(work: () => Promise<T>): Promise<T>
  close(): void
}

/** Bytes of the file that are locked. The content of the file is not used. */
const ENTRY = 0
const WRITES = 1
const POLL_MS = 1
/**
 * A stopped process may keep its lock. An opening that waits longer for it lets the others write.
 */
const PATIENCE_MS = 2_000
const REST_MS = 100

/**
 * Creates the lock, with a file of its own. Writers share `WRITES`. An opening locks `ENTRY` first,
 * so that it waits only for the writes in progress.
 */
export function createOpenLock(path: string): OpenLock {
  const { tryLock, lock, unlock, close } = openLocks(path)
  /** Writes in progress, and those that wait together. */
  let inside = 0
  let waiting = 0
  let isOpening = false
  let entering: Promise<void> | undefined

  const canEnter = (): boolean => {
    if (isOpening) return true
    if (!tryLock(ENTRY, true)) return false
    try {
      return inside > 0 || tryLock(WRITES, true)
    } finally {
      unlock(ENTRY)
    }
  }
  /** All wait together, so that they continue in the order of their calls. */
  const enter = async () => {
    try {
      while (!canEnter()) await sleep(POLL_MS)
      inside += waiting
    } finally {
      waiting = 0
      entering = undefined
    }
  }

  return {
    async write(work) {
      if (entering || !canEnter()) {
        waiting++
        entering ??= enter()
        await entering
      } else inside++
      try {
        return await work()
      } finally {
        inside--
        if (inside === 0 && !isOpening) unlock(WRITES)
      }
    },
    async open(work) {
      try {
        while ((await lock(ENTRY)) && !(await lock(WRITES, PATIENCE_MS))) {
          unlock(ENTRY)
          await sleep(REST_MS)
        }
        isOpening = true
        return await work()
      } finally {
        isOpening = false
        unlock(ENTRY)
        unlock(WRITES)
      }
    },
    close,
  }
}

/** Opens a file whose bytes are locked. */
function openLocks(path: string) {
  const fd = openSync(path, 'a+', 0o600)
  let isClosed = false
  const tryLock = (byte: number, shared: boolean): boolean => {
    if (isClosed) throw new Error('the store is closed')
    try {
      return locks.tryLock(fd, byte, 1, { shared })
    } catch (cause) {
      const reason = (cause as Error).message
      throw new Error(`${path} cannot be locked: ${reason}. Use a folder on a local disk.`, { cause })
    }
  }
  return {
    tryLock,
    /** Locks a byte for this file alone. Returns false if others hold it for `timeoutMs`. */
    async lock(byte: number, timeoutMs = Number.POSITIVE_INFINITY): Promise<boolean> {
      const endsAt = performance.now() + timeoutMs
      while (!tryLock(byte, false)) {
        if (performance.now() >= endsAt) return false
        await sleep(POLL_MS)
      }
      return true
    },
    unlock(byte: number): void {
      if (!isClosed) locks.unlock(fd, byte, 1)
    },
    close(): void {
      if (isClosed) return
      isClosed = true
      closeSync(fd)
    },
  }
}
