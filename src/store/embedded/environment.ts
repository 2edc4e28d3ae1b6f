import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { StoreError } from '../../contracts/store.js'
import { checkFile, type FileState } from './file-check.js'
import { createOpenLock, type OpenLock } from './open-lock.js'

/**
 * One LMDB file with several databases. It has one writer at a time across all processes; reads
 * never wait.
 */
export interface Environment {
  /** Databases are opened only in `openParts` of `openEnvironment`. */
  root: RootDatabase<unknown, string>
  /**
   * Runs `step` in a transaction, possibly together with other steps, and resolves when it is on
   * disk. Rejects with `StoreError`; then nothing was written.
   */
  write<T>(step: () => T): Promise<T>
  /** Runs synchronous reads on one consistent state. Throws `StoreError`. */
  read<T>(step: () => T): T
  isUp(): boolean
  /** Returns whether the last write succeeded. */
  canWrite(): boolean
  close(): Promise<void>
}

/**
 * Creates the folder, for this user only, if missing. Throws a plain `Error` with the reason if it
 * cannot be used.
 */
export function prepareFolder(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    accessSync(dir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new Error(`the folder ${dir} cannot be used for the store: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Opens or creates `<dir>/<name>.mdb`, of at most `mapBytes` (address space, not disk), and its
 * databases with `openParts`. Waits until no other process writes (`open-lock.ts`). Throws what
 * `openParts` throws, or a plain `Error`.
 *
 * `overlappingSync` is off: a transaction is on disk before it is acknowledged and before the next
 * one begins. This is LMDB's plain mode. Neither `kill -9` nor a power cut can leave half a
 * transaction or lose an acknowledged one.
 */
export async function openEnvironment<T>(
  dir: string,
  name: string,
  mapBytes: number,
  openParts: (environment: Environment) => T | Promise<T>,
): Promise<{ environment: Environment; parts: T }> {
  const path = join(dir, `${name}.mdb`)
  const lock = lockOf(path)
  try {
    return await lock.open(async () => {
      const environment = createEnvironment(openRoot(path, mapBytes), `${name}.mdb`, lock)
      try {
        return { environment, parts: await openParts(environment) }
      } catch (error) {
        await environment.close()
        throw error
      }
    })
  } catch (error) {
    lock.close()
    throw error
  }
}

function lockOf(path: string): OpenLock {
  try {
    return createOpenLock(`${path}-open-lock`)
  } catch (error) {
    throw cannotOpen(path, error)
  }
}

function createEnvironment(root: Environment['root'], name: string, lock: OpenLock): Environment {
  let isUp = true
  let canWrite = true

  const toStoreError = (error: unknown): StoreError => {
    if (error instanceof StoreError) return error
    isUp = false
    return new StoreError(`the store ${name} failed: ${messageOf(error)}`, { cause: error })
  }

  return {
    root,
    async write(step) {
      try {
        const result = await lock.write(() => root.transaction(step))
        isUp = true
        canWrite = true
        return result
      } catch (error) {
        if (!(error instanceof StoreError)) canWrite = false
        throw toStoreError(await reasonOf(error))
      }
    },
    read(step) {
      try {
        const result = step()
        isUp = true
        return result
      } catch (error) {
        throw toStoreError(error)
      }
    },
    isUp: () => isUp,
    canWrite: () => canWrite,
    async close() {
      isUp = false
      await root.close()
      lock.close()
    },
  }
}

function openRoot(path: string, mapBytes: number): RootDatabase<unknown, string> {
  try {
    const damage = damageOf(path)
    if (damage !== undefined) throw new Error(damage)
    // For this user only.
    closeSync(openSync(path, 'a', 0o600))
    const mapSize = Math.ceil(mapBytes / 65_536) * 65_536
    return open<unknown, string>({
      path,
      // With batching, a failed commit rejects a promise that no code can catch.
      eventTurnBatching: false,
      noSubdir: true,
      maxDbs: 24,
      mapSize,
      overlappingSync: false,
      encoding: 'msgpack',
    })
  } catch (error) {
    throw cannotOpen(path, error)
  }
}

function cannotOpen(path: string, error: unknown): Error {
  return new Error(`the store ${path} cannot be opened: ${messageOf(error)}`, { cause: error })
}

const DAMAGES: Partial<Record<FileState, string>> = {
  foreign: 'the file is damaged or is not a database of this gateway',
  truncated: 'the file is damaged: it ends before its contents do',
  overwritten: 'the file is damaged: parts of it were overwritten',
}

/** Returns what is wrong with a file that LMDB must not map. */
export function damageOf(path: string): string | undefined {
  return DAMAGES[checkFile(path)]
}

/**
 * Returns why a commit failed. LMDB reports it in a second promise that rejects together with the
 * first. Unhandled, that promise would end the process.
 */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<unknown> }
  if (!commitError) return error
  const afterwards = new Promise(resolve => setImmediate(resolve, error))
  return Promise.race([commitError.catch(reason => reason), afterwards])
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
