import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { SharedPlace } from './samples.js'

export interface HammerWork {
  /** Reserve against a daily limit, reserve above a floor, count in one record, or share an answer of that cost. */
  what: 'budget' | 'floor' | 'record' | 'share'
  attempts: number
  limit: number
}

/** What one process got done: how many attempts succeeded, and the most it saw booked. */
export interface Hammered {
  booked: number
  highest: number
}

const PROGRAM = fileURLToPath(new URL('./hammer-process.js', import.meta.url))

/** Lets three processes do the same at the same moment. */
export async function hammer(place: Omit<SharedPlace, 'open'>, work: HammerWork): Promise<Hammered[]> {
  const args = [place.technology, place.target, place.keyPrefix]
  const children = Array.from({ length: 3 }, () => fork(PROGRAM, args, { execArgv: [] }))
  try {
    await Promise.all(children.map(heard))
    const results = children.map(heard)
    for (const child of children) child.send(work)
    return (await Promise.all(results)) as Hammered[]
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
}

async function heard(child: ChildProcess): Promise<unknown> {
  const died = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process ended early (${code ?? signal})`)
  })
  const [message] = (await Promise.race([once(child, 'message'), died])) as [unknown]
  died.catch(() => undefined)
  return message
}
