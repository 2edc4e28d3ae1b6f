import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { SharedStore } from './samples.js'

export interface WorkerTask {
  /**
   * Reserve within a daily limit, reserve above a floor, increment one record, or share a result of
   * that cost.
   */
  what: 'budget' | 'floor' | 'record' | 'share'
  attempts: number
  limit: number
}

/** Message to a process: first the store, then the task, sent to all at the same moment. */
export type WorkerMessage = { store: Omit<SharedStore, 'open'> } | { task: WorkerTask }

/** Result of one process: successful attempts, and the highest amount it saw booked. */
export interface WorkerReport {
  booked: number
  highest: number
}

const PROGRAM = fileURLToPath(new URL('./worker-process.js', import.meta.url))

/** Starts three processes that run the same task at the same moment. */
export function startWorkers() {
  const children = Array.from({ length: 3 }, () => fork(PROGRAM, { execArgv: [] }))
  const send = (message: WorkerMessage): Promise<unknown[]> => {
    const answers = Promise.all(children.map(nextMessage))
    for (const child of children) child.send(message)
    return answers
  }
  return {
    async run({ technology, target, keyPrefix }: SharedStore, task: WorkerTask): Promise<WorkerReport[]> {
      await send({ store: { technology, target, keyPrefix } })
      return (await send({ task })) as WorkerReport[]
    },
    stop(): void {
      for (const child of children) child.kill('SIGKILL')
    },
  }
}

/** Resolves with the next message of a process. Rejects if the process ends first. */
export async function nextMessage(child: ChildProcess): Promise<unknown> {
  const died = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process ended early (${code ?? signal})`)
  })
  const [message] = (await Promise.race([once(child, 'message'), died])) as [unknown]
  died.catch(() => undefined)
  return message
}
