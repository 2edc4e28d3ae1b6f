import crypto from 'node:crypto'
import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import timersPromises from 'node:timers/promises'
import { type Random, randomFrom } from '../support/random.js'

// Importing this file replaces time, timers, random numbers and small files of the whole process by
// virtual ones. It must be imported before anything of src/, whose modules keep some of them.

/** A machine whose events the scheduler runs: a replica, or the world around them. */
export interface Machine {
  name: string
  /** Difference of its wall clock from the true time. */
  skewMs: number
  /** Its events are dropped: the process was killed. */
  isDead: boolean
  /** Its events wait until this time. */
  frozenUntil: number
}

interface Event {
  at: number
  order: number
  machine: Machine
  run: (() => void) | undefined
}

type Callback = (...values: unknown[]) => void

/** True time at the start: 2026-11-22T08:00:00Z. */
export const START = Date.UTC(2026, 10, 22, 8)
const EPOCH = Date.UTC(2026, 0, 1)
const RealDate = Date
const realSetImmediate = setImmediate
/** Events for each iteration of the real event loop. Microtasks run after each of them. */
const BATCH = 64

export const WORLD: Machine = { name: 'world', skewMs: 0, isDead: false, frozenUntil: 0 }
let heap: Event[] = []
let now = START
let order = 0
let machine = WORLD
let random: Random = randomFrom(0)
let ids: Random = randomFrom(0)
const files = new Map<string, string>()
/**
 * Coarse intervals. A lease is still renewed more often than after the 6 s of silence that end it, and
 * the balance is requested before it is stale.
 */
const COARSE = { short: 4, long: 12 }
let stretch: typeof COARSE | undefined

/** Makes intervals longer from now on, so that idle hours cost little. */
export function coarsen(): void {
  stretch = COARSE
}

/** Starts a new simulation: drops every event and file, and seeds the random numbers. */
export function beginTime(seed: number): void {
  stretch = undefined
  heap = []
  now = START
  order = 0
  machine = WORLD
  random = randomFrom(seed).fork('gateway')
  ids = randomFrom(seed).fork('ids')
  files.clear()
}

/** Milliseconds since 1970, by the clock of nature. */
export const trueTime = (): number => now

/** The machine whose event runs now. */
export const thisMachine = (): Machine => machine

/** Runs `work` on a machine after a delay. */
export function schedule(on: Machine, delayMs: number, work: () => void): Event {
  const event: Event = { at: now + Math.max(0, Math.ceil(delayMs)), order: order++, machine: on, run: work }
  push(event)
  return event
}

/** Resolves on the current machine after virtual time. */
export const sleep = (ms: number): Promise<void> => new Promise(resolve => schedule(machine, ms, resolve))

/** Runs events, each with all its microtasks, until `isOver`. Throws if none is left before that. */
export function runUntil(isOver: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let hasEnded = false
    const step = () => {
      if (hasEnded) return
      if (isOver()) {
        hasEnded = true
        return resolve()
      }
      const event = pop()
      if (!event) {
        hasEnded = true
        return reject(new Error('no event is left'))
      }
      run(event)
    }
    const batch = () => {
      for (let count = 0; count < BATCH; count++) realSetImmediate(step)
      if (!hasEnded) realSetImmediate(batch)
    }
    batch()
  })
}

function run(event: Event): void {
  const { machine: owner, run: work } = event
  if (!work || owner.isDead) return
  if (owner.frozenUntil > event.at) {
    event.at = owner.frozenUntil
    push(event)
    return
  }
  now = event.at
  machine = owner
  event.run = undefined
  work()
}

function push(event: Event): void {
  let index = heap.length
  heap.push(event)
  while (index > 0) {
    const parent = (index - 1) >> 1
    if (!isBefore(event, heap[parent] as Event)) break
    heap[index] = heap[parent] as Event
    index = parent
  }
  heap[index] = event
}

function pop(): Event | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (!first || !last || first === last) return first
  let index = 0
  for (;;) {
    let child = 2 * index + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++
    if (!isBefore(heap[child] as Event, last)) break
    heap[index] = heap[child] as Event
    index = child
  }
  heap[index] = last
  return first
}

const isBefore = (one: Event, other: Event) => one.at < other.at || (one.at === other.at && one.order < other.order)

/** A timer as Node.js returns it. */
class Timer {
  event: Event | undefined
  constructor(
    readonly work: () => void,
    readonly ms: number,
    readonly repeats: boolean,
  ) {
    this.start(machine)
  }
  start(on: Machine): void {
    const factor = stretch && this.repeats ? stretch[this.ms < 5_000 ? 'short' : 'long'] : 1
    this.event = schedule(on, this.ms * factor, () => {
      // Before the work, which may clear it.
      if (this.repeats) this.start(on)
      this.work()
    })
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
  refresh(): this {
    clear(this)
    this.start(machine)
    return this
  }
}

function clear(timer: unknown): void {
  if (timer instanceof Timer && timer.event) timer.event.run = undefined
}

const timeout = (work: Callback, ms?: number, ...values: unknown[]) =>
  new Timer(() => work(...values), Math.max(1, ms ?? 0), false)

const interval = (work: Callback, ms = 1, ...values: unknown[]) => new Timer(() => work(...values), ms, true)

class VirtualDate extends RealDate {
  constructor(...values: ConstructorParameters<typeof Date> | []) {
    if (values.length === 0) super(now + machine.skewMs)
    else super(...(values as [number]))
  }
  static override now(): number {
    return now + machine.skewMs
  }
}

/** `setTimeout` and `setImmediate` of `node:timers/promises`. */
const promised = (ms: number | undefined, value: unknown, { signal }: { signal?: AbortSignal } = {}) =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const abort = () => {
      clear(waiting)
      reject(signal?.reason)
    }
    const end = () => {
      signal?.removeEventListener('abort', abort)
      resolve(value)
    }
    const waiting = new Timer(end, ms ?? 0, false)
    signal?.addEventListener('abort', abort, { once: true })
  })

function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController()
  const abort = () => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'))
  new Timer(abort, ms, false)
  return controller.signal
}

/** Makes random bytes of the seed. */
function seededBytes(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let index = 0; index < length; index++) bytes[index] = ids.between(0, 255)
  return bytes
}

function seededUuid(): string {
  const hex = seededBytes(16).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** Small files of virtual folders, which are named `/virtual/…`. Others do not exist. */
export const virtualFiles = files

function readFile(path: string): string {
  const text = files.get(String(path))
  if (text === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
  return text
}

function install(): void {
  const isVirtual = (path: unknown) => String(path).startsWith('/virtual/')
  const { readFileSync, writeFileSync, renameSync } = fs
  Object.assign(globalThis, {
    Date: VirtualDate,
    setTimeout: timeout,
    setInterval: interval,
    setImmediate: (work: Callback, ...values: unknown[]) => new Timer(() => work(...values), 0, false),
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
  })
  Object.assign(performance, { now: () => now - EPOCH })
  Object.assign(AbortSignal, { timeout: timeoutSignal })
  // A format takes a millisecond to create, and every replica creates the same ones.
  const formats = new Map<string, Intl.DateTimeFormat>()
  const { DateTimeFormat } = Intl
  const formatOf = (...given: ConstructorParameters<typeof DateTimeFormat>) => {
    const name = JSON.stringify(given)
    const format = formats.get(name) ?? new DateTimeFormat(...given)
    formats.set(name, format)
    return format
  }
  // A function that is called with `new` and returns an object yields that object.
  Object.assign(Intl, {
    DateTimeFormat: function create(...given: []) {
      return formatOf(...given)
    },
  })
  Math.random = () => random.next()
  Object.assign(crypto, { randomUUID: seededUuid, randomBytes: seededBytes })
  Object.assign(timersPromises, {
    setTimeout: (ms?: number, value?: unknown, options?: object) => promised(ms, value, options),
    setImmediate: (value?: unknown, options?: object) => promised(0, value, options),
  })
  Object.assign(fs, {
    readFileSync: (path: string, ...rest: [never]) => (isVirtual(path) ? readFile(path) : readFileSync(path, ...rest)),
    writeFileSync: (path: string, text: string, ...rest: [never]) =>
      isVirtual(path) ? void files.set(path, text) : writeFileSync(path, text, ...rest),
    renameSync(from: string, to: string) {
      if (!isVirtual(from)) return renameSync(from, to)
      files.set(to, readFile(from))
      files.delete(from)
    },
  })
  Object.assign(fsPromises, { readFile: async (path: string) => readFile(path) })
  syncBuiltinESMExports()
}

install()
