import { byId } from '../../dom.js'
import { ago, duration } from '../../format.js'
import type { Connection } from '../api/live-stream.js'
import { announce, fill } from '../elements/live-update.js'

const STATES = { connecting: 'Connecting…', live: 'Live', lost: 'Connection lost', refused: 'Access denied' } as const

/** Shows the connection and the age of the figures. Announces changes to screen readers. */
export class ConnectionBar {
  #connection: Connection = { state: 'connecting' }
  #updatedAt: number | undefined

  constructor(retry: () => void) {
    byId('retry').addEventListener('click', retry)
  }

  get isLive(): boolean {
    return this.#connection.state === 'live'
  }

  markUpdated(): void {
    this.#updatedAt = Date.now()
  }

  show(connection: Connection): void {
    const { state } = connection
    const before = this.#connection.state
    this.#connection = connection
    if (state === 'lost' && before !== 'lost') announce('Connection lost. The figures are out of date.')
    if (state === 'live' && before === 'lost') announce('Connected again. The figures are live.')
    this.update()
  }

  /** Updates the age of the figures and the countdown. */
  update(): void {
    const connection = this.#connection
    const bar = byId('connection')
    bar.hidden = false
    bar.dataset.state = connection.state
    fill('connection-text', STATES[connection.state])
    byId('lost').hidden = connection.state !== 'lost'
    if (connection.state !== 'lost') return
    const age = this.#updatedAt === undefined ? 'never updated' : `last updated ${ago(Date.now() - this.#updatedAt)}`
    const waitMs = connection.retryAt - Date.now()
    const next = waitMs > 0 ? `Retrying in ${duration(Math.ceil(waitMs / 1_000))}.` : 'Retrying…'
    fill('lost-text', `${connection.reason} The figures below are out of date: ${age}. ${next}`)
  }
}
