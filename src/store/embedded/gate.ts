import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import locks from 'fs-native-extensions'

/**
 * Lets a process open an LMDB file only while nobody writes to it.
 *
 * LMDB (`mdb_env_open2`) reads the number of the last transaction and then sets it for all processes,
 * without a lock. If another process commits in between, the next transaction overwrites that commit.
 *
 * The locks are kept by the kernel for an open file, so they end with the process and work across
 * containers.
 */
export interface Gate {
  /** Runs `write` while no process opens the file. */
  pass<T>(write: () => Promise<T>): Promise<T>
  /** Runs `open` while no other process writes or opens. `pass` does not wait inside it. */
  hold<T>(open: () => Promise<T>): Promise<T>
  close(): void
}

/** Bytes of the file that are locked. The content of the file is not used. */
const DOOR = 0
const ROOM = 1
const POLL_MS = 1

/**
 * Creates the gate with a file of its own. Writers share `ROOM`. Who wants to open the file keeps
 * new writers out with `DOOR`, and so waits for the present ones only.
 */
export function openGate(path: string): Gate {
  const fd = openSync(path, 'a+', 0o600)
  let inside = 0
  let isHeld = false
  let isClosed = false
  let entering: Promise<void> | undefined

  const tryLock = (byte: number, shared: boolean): boolean => {
    if (isClosed) throw new Error('the store is closed')
    try {
      return locks.tryLock(fd, byte, 1, { shared })
    } catch (cause) {
      const reason = (cause as Error).message
      throw new Error(`${path} cannot be locked: ${reason}. Use a folder on a local disk.`, { cause })
    }
  }
  const unlock = (byte: number, count = 1) => {
    if (!isClosed) locks.unlock(fd, byte, count)
  }
  const canEnter = (): boolean => {
    if (isHeld) return true
    if (!tryLock(DOOR, true)) return false
    try {
      return inside > 0 || tryLock(ROOM, true)
    } finally {
      unlock(DOOR)
    }
  }
  /** All wait together, so that they continue in the order of their calls. */
  const enter = async () => {
    try {
      while (!canEnter()) await sleep(POLL_MS)
    } finally {
      entering = undefined
    }
  }

  return {
    async pass(write) {
      if (entering || !canEnter()) {
        entering ??= enter()
        await entering
      }
      inside++
      try {
        return await write()
      } finally {
        inside--
        if (inside === 0 && !isHeld) unlock(ROOM)
      }
    },
    async hold(open) {
      try {
        for (const byte of [DOOR, ROOM]) while (!tryLock(byte, false)) await sleep(POLL_MS)
        isHeld = true
        return await open()
      } finally {
        isHeld = false
        unlock(DOOR, 2)
      }
    },
    close() {
      if (isClosed) return
      isClosed = true
      closeSync(fd)
    },
  }
}
