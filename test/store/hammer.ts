import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** What one process got: how many reservations, and the highest it saw booked. */
export interface Hammered {
  booked: number
  highest: number
}

const PROGRAM = fileURLToPath(new URL('./hammer-process.js', import.meta.url))

/** Lets three processes reserve against one daily limit at the same moment. */
export async function hammer(store: {
  technology: string
  target: string
  keyPrefix: string
  limit: number
}): Promise<Hammered[]> {
  const args = [store.technology, store.target, store.keyPrefix, '150']
  const children = Array.from({ length: 3 }, () => fork(PROGRAM, args, { execArgv: [] }))
  try {
    await Promise.all(children.map(heard))
    const results = children.map(heard)
    for (const child of children) child.send(store.limit)
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
