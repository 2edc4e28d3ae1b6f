import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** `absent`: no file, or an empty one, which LMDB fills. */
export type FileState = 'absent' | 'whole' | 'foreign' | 'truncated' | 'overwritten'

/*
 * LMDB maps a file and follows its page numbers. A page beyond the end of the file ends the process
 * with SIGBUS. So a file is checked before it is mapped. Offsets are those of LMDB's format 2: a
 * page begins with a header, two meta pages come first, and the newer one is in force.
 */
const HEADER = 24
/** LMDB's magic number and format version. */
const MAGIC = Buffer.from('dec0efbe02000000', 'hex')
const META = { magic: HEADER, pageSize: HEADER + 24, free: HEADER + 64, main: HEADER + 112, last: HEADER + 120 }
const META_TRANSACTION = HEADER + 128
const META_BYTES = HEADER + 136
/** Offsets in a page's header, which begins with the page's own number. */
const FLAGS = 18
const LOWER = 20
const UPPER = 22
/** Kinds of pages: the lowest bits of the flags. */
const KINDS = 15
const BRANCH = 1
const LEAF = 2
/** Flags of nodes. */
const BIG_DATA = 1
const SUB_DATABASE = 2
const NODE_HEADER = 8
/** Offset of the root in the description of a database. */
const ROOT = 40
const NO_PAGE = 0xffff_ffff_ffff_ffffn
const MIN_PAGE_BYTES = 512

/** Another process that writes to the file may make it look damaged for a moment. */
const CHECKS = 10
const PAUSE_MS = 30

/**
 * Checks that a file is an LMDB database whose every page in use is inside the file, and that the
 * first page of each of its databases is one. Other pages may have any contents. Pages that are not
 * in use may lie beyond the end of the file. A file counts as damaged only if it stays so for 0.3 s, during
 * which the thread sleeps. Throws if the file cannot be read.
 */
export function checkFile(path: string): FileState {
  for (let check = 1; ; check++) {
    const state = checkOnce(path)
    if (state === 'absent' || state === 'whole' || check === CHECKS) return state
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS)
  }
}

function checkOnce(path: string): FileState {
  const file = openIfPresent(path)
  if (file === undefined) return 'absent'
  try {
    if (fstatSync(file).size === 0) return 'absent'
    const meta = newestMeta(file)
    if (meta === undefined) return 'foreign'
    // After the meta page: a writer makes the file longer before it writes the page that says so.
    const { size } = fstatSync(file)
    const reachesBeyond = createWalk(file, meta.pageBytes, size)
    const isShort = size < (meta.last + 1) * meta.pageBytes
    if (isShort && meta.roots.some(root => reachesBeyond(root))) return 'truncated'
    return meta.roots.every(root => areFirstPages(file, root, meta)) ? 'whole' : 'overwritten'
  } catch (error) {
    // Offsets and page numbers that make no sense.
    if (error instanceof RangeError) return 'truncated'
    throw error
  } finally {
    closeSync(file)
  }
}

function openIfPresent(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

interface Meta {
  pageBytes: number
  last: number
  transaction: bigint
  roots: bigint[]
}

/** Reads the newer meta page. Undefined if the file does not begin with two of them. */
function newestMeta(file: number): Meta | undefined {
  const first = readMeta(file, 0)
  const second = first && readMeta(file, first.pageBytes)
  if (!first || !second) return undefined
  return second.transaction > first.transaction ? second : first
}

function readMeta(file: number, start: number): Meta | undefined {
  const page = Buffer.alloc(META_BYTES)
  if (readSync(file, page, 0, META_BYTES, start) < META_BYTES) return undefined
  if (!page.subarray(META.magic, META.magic + MAGIC.length).equals(MAGIC)) return undefined
  // Only the first meta page states the size.
  const pageBytes = page.readUInt32LE(META.pageSize)
  if (pageBytes < MIN_PAGE_BYTES) return undefined
  return {
    pageBytes,
    last: Number(page.readBigUInt64LE(META.last)),
    transaction: page.readBigUInt64LE(META_TRANSACTION),
    roots: [page.readBigUInt64LE(META.free), page.readBigUInt64LE(META.main)],
  }
}

/** Creates a function that tells whether a page, or any page below it, lies beyond the end of the file. */
function createWalk(file: number, pageBytes: number, size: number) {
  const reachesBeyond = (pageNumber: bigint): boolean => {
    if (pageNumber === NO_PAGE) return false
    const start = Number(pageNumber) * pageBytes
    if (start + pageBytes > size) return true
    const page = Buffer.alloc(pageBytes)
    readSync(file, page, 0, pageBytes, start)
    const flags = page.readUInt16LE(FLAGS)
    return (flags & (BRANCH | LEAF)) !== 0 && nodesOf(page).some(node => nodeReachesBeyond(page, node, flags))
  }
  const nodeReachesBeyond = (page: Buffer, node: number, pageFlags: number): boolean => {
    const low = page.readUInt32LE(node)
    const flags = page.readUInt16LE(node + 4)
    if (pageFlags & BRANCH) return reachesBeyond((BigInt(flags) << 32n) | BigInt(low))
    const data = node + NODE_HEADER + page.readUInt16LE(node + 6)
    if (flags & BIG_DATA) {
      const pages = Number(page.readBigUInt64LE(data + 16))
      return (Number(page.readBigUInt64LE(data)) + pages) * pageBytes > size
    }
    return (flags & SUB_DATABASE) !== 0 && reachesBeyond(page.readBigUInt64LE(data + ROOT))
  }
  return reachesBeyond
}

/** Checks the first page of the database at `root`, and those of the databases that this page names. */
function areFirstPages(file: number, root: bigint, meta: Meta): boolean {
  const page = readFirstPage(file, root, meta)
  if (page === 'empty') return true
  if (page === undefined) return false
  if ((page.readUInt16LE(FLAGS) & LEAF) === 0) return true
  const named = nodesOf(page).filter(node => (page.readUInt16LE(node + 4) & SUB_DATABASE) !== 0)
  return named.every(node => {
    const data = node + NODE_HEADER + page.readUInt16LE(node + 6)
    return readFirstPage(file, page.readBigUInt64LE(data + ROOT), meta) !== undefined
  })
}

/** Reads the first page of a database. Undefined if its header is not that of such a page. */
function readFirstPage(file: number, pageNumber: bigint, { pageBytes, last }: Meta): Buffer | 'empty' | undefined {
  if (pageNumber === NO_PAGE) return 'empty'
  if (pageNumber > BigInt(last)) return undefined
  const page = Buffer.alloc(pageBytes)
  readSync(file, page, 0, pageBytes, Number(pageNumber) * pageBytes)
  const kind = page.readUInt16LE(FLAGS) & KINDS
  const [lower, upper] = [page.readUInt16LE(LOWER), page.readUInt16LE(UPPER)]
  const hasNodes = lower > 0 && lower % 2 === 0 && lower <= upper && upper <= pageBytes - HEADER
  return page.readBigUInt64LE(0) === pageNumber && (kind === BRANCH || kind === LEAF) && hasNodes ? page : undefined
}

/** Lists the offsets of the nodes of a branch or leaf page. */
function nodesOf(page: Buffer): number[] {
  const count = page.readUInt16LE(LOWER) / 2
  return Array.from({ length: count }, (_, index) => page.readUInt16LE(HEADER + index * 2) + HEADER)
}
