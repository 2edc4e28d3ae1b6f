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

/** What a process is told: first where, then what, at the same moment as the others. */
export type HammerOrder = { place: Omit<SharedPlace, 'open'> } | { work: HammerWork }

/** What one process got done: how many attempts succeeded, and the most it saw booked. */
export interface Hammered {
  booked: number
  highest: number
}

const PROGRAM = fileURLToPath(new URL('./hammer-process.js', import.meta.url))

/** Three processes that do the same at the same moment. */
export function startHammer() {
  const children = Array.from({ length: 3 }, () => fork(PROGRAM, { execArgv: [] }))
  const tell = (order: HammerOrder): Promise<unknown[]> => {
    const answers = Promise.all(children.map(heard))
    for (const child of children) child.send(order)
    return answers
  }
  return {
    async hit({ technology, target, keyPrefix }: SharedPlace, work: HammerWork): Promise<Hammered[]> {
      await tell({ place: { technology, target, keyPrefix } })
      return (await tell({ work })) as Hammered[]
    },
    end(): void {
      for (const child of children) child.kill('SIGKILL')
    },
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
