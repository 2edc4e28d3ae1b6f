import { statfsSync } from 'node:fs'

/** Room that the cache leaves on the disk, for the ledger: that of about 80,000 calls. */
const ROOM_BYTES = 64 * 2 ** 20
/** A small disk keeps this share instead. */
const ROOM_SHARE = 1 / 8

/**
 * Returns whether the cache may grow: whether the disk has more than the room kept for the ledger.
 * The cache is what fills the disk, so this alone keeps room, and costs one system call for each
 * stored result. A reserve file would cost as much disk, and would help only once.
 */
export function hasRoomForCache(dir: string): boolean {
  const { bavail, blocks, bsize } = statfsSync(dir)
  return bavail * bsize > Math.min(ROOM_BYTES, blocks * bsize * ROOM_SHARE)
}
