/** One server-sent event. */
export interface StreamEvent {
  name: string
  data: string
}

/** Reads server-sent events (WHATWG HTML §9.2.6) out of text that comes in pieces of any size; comments, ids and `retry` are passed over. */
export class EventStreamParser {
  #rest = ''
  #name = ''
  #data: string[] = []

  /** The events that are complete with this piece. */
  push(piece: string): StreamEvent[] {
    const lines = (this.#rest + piece).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    return lines.flatMap(line => this.#line(line))
  }

  #line(line: string): StreamEvent[] {
    if (line === '') return this.#end()
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === 'event') this.#name = value
    if (field === 'data') this.#data.push(value)
    return []
  }

  #end(): StreamEvent[] {
    const event = { name: this.#name || 'message', data: this.#data.join('\n') }
    const isEmpty = this.#data.length === 0
    this.#name = ''
    this.#data = []
    return isEmpty ? [] : [event]
  }
}
