import { announce, byId, setText } from './element.js'
import { age, duration } from './format.js'
import type { Connection } from './live.js'

const SAID = { connecting: 'Connecting …', live: 'Live', lost: 'Connection lost', refused: 'Refused' } as const

/** Whether these are the figures of now, and how old they are. Changes are said aloud, the counting is not. */
export class ConnectionBar {
  #connection: Connection = { is: 'connecting' }
  #heardAt: number | undefined

  constructor(retry: () => void) {
    byId('retry').onclick = retry
  }

  get isLive(): boolean {
    return this.#connection.is === 'live'
  }

  heard(): void {
    this.#heardAt = Date.now()
  }

  show(connection: Connection): void {
    const before = this.#connection.is
    this.#connection = connection
    if (before !== connection.is) {
      if (connection.is === 'lost') announce('The connection is lost. The figures are not of now.')
      if (connection.is === 'live' && before === 'lost') announce('Connected again. The figures are live.')
    }
    this.tick()
  }

  tick(): void {
    const { is } = this.#connection
    const place = byId('connection')
    place.hidden = false
    place.dataset.state = is
    setText('connection-text', SAID[is])
    byId('lost').hidden = is !== 'lost'
    if (this.#connection.is !== 'lost') return
    const old = this.#heardAt === undefined ? 'None were heard.' : `They were right ${age(Date.now() - this.#heardAt)}.`
    const wait = this.#connection.retryAt - Date.now()
    const next = wait > 0 ? `Trying again in ${duration(Math.ceil(wait / 1_000))}.` : 'Trying again …'
    setText('lost-text', `${this.#connection.why} The figures below are not of now. ${old} ${next}`)
  }
}
