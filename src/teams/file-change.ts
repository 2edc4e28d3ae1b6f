import { randomBytes } from 'node:crypto'
import { chown, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/**
 * Longest wait for the lock, interval between attempts, and age at which a lock counts as
 * abandoned.
 */
const LOCK_TIMES = { waitMs: 5000, retryMs: 25, staleMs: 15_000 }

/**
 * Changes a text file atomically: writes a temporary file in the same folder, syncs it and renames
 * it. Mode and owner are kept. `<file>.lock` excludes other writers. `change` receives the text
 * (`undefined` if there is no file) and returns the new text, or `undefined` for no change. Throws
 * an `Error` with a message for the operator.
 */
export async function changeFile(
  file: string,
  change: (text: string | undefined) => string | undefined,
  times = LOCK_TIMES,
): Promise<void> {
  const target = await realpath(file).catch(() => file)
  const lock = await takeLock(`${target}.lock`, times)
  try {
    const text = change(await readIfPresent(target))
    if (text === undefined) return
    await lock.assertHeld()
    await replace(target, text)
  } finally {
    await lock.release()
  }
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw toReadableError(error, file)
  }
}

async function takeLock(path: string, times: typeof LOCK_TIMES) {
  const token = randomBytes(12).toString('hex')
  const deadline = Date.now() + times.waitMs
  while (!(await createExclusively(path, token))) {
    if (await isStale(path, times.staleMs)) await rm(path, { force: true })
    else if (Date.now() >= deadline) throw new Error(`another process is changing the file: ${path} exists`)
    else await wait(times.retryMs)
  }
  const isHeld = async () => (await readIfPresent(path)) === token
  return {
    /**
     * Throws when the lock was lost. The race: two writers find the same stale lock · the first
     * removes it and takes a new lock · the second removes that one and takes its own · the first
     * stops here, before it writes.
     */
    async assertHeld(): Promise<void> {
      if (!(await isHeld())) throw new Error('another process took over the lock: try again')
    },
    async release(): Promise<void> {
      if (await isHeld()) await rm(path, { force: true })
    },
  }
}

async function createExclusively(path: string, text: string): Promise<boolean> {
  try {
    await writeSynced(path, text, 0o600)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw toReadableError(error, path)
  }
}

async function isStale(path: string, staleMs: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found !== undefined && Date.now() - found.mtimeMs > staleMs
}

async function replace(file: string, text: string): Promise<void> {
  const old = await stat(file).catch(() => undefined)
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeSynced(temporary, text, old ? old.mode & 0o777 : 0o644)
    if (old) await chown(temporary, old.uid, old.gid).catch(() => {})
    await rename(temporary, file)
    await syncFolder(dirname(file))
  } catch (error) {
    await rm(temporary, { force: true })
    throw toReadableError(error, file)
  }
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode)
  try {
    await handle.chmod(mode)
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * Syncs the folder, so that the rename survives a power failure. Some file systems do not support
 * it.
 */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined)
  await handle?.sync().catch(() => {})
  await handle?.close()
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code

const REASONS: Readonly<Record<string, string>> = {
  EBUSY: 'it is mounted as a single file and cannot be replaced: mount its folder instead',
  EROFS: 'its file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder does not exist',
  EISDIR: 'it is a folder',
  ENOSPC: 'no space left',
}

function toReadableError(error: unknown, file: string): Error {
  const code = codeOf(error) ?? 'unknown error'
  return new Error(`cannot change ${file}: ${REASONS[code] ?? code}`, { cause: error })
}
