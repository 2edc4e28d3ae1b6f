export interface StreamEvent {
  name: string
  data: string
}

/** Parses server-sent events (WHATWG HTML §9.2.6), except for ids and `retry`. */
export class EventStreamParser {
  #rest = ''
  #name = ''
  #data: string[] = []

  /** Adds a chunk and returns the events that it completes. */
  push(chunk: string): StreamEvent[] {
    const lines = (this.#rest + chunk).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    return lines.flatMap(line => this.#parseLine(line))
  }

  #parseLine(line: string): StreamEvent[] {
    if (line === '') return this.#endEvent()
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === 'event') this.#name = value
    if (field === 'data') this.#data.push(value)
    return []
  }

  #endEvent(): StreamEvent[] {
    const event = { name: this.#name || 'message', data: this.#data.join('\n') }
    const isEmpty = this.#data.length === 0
    this.#name = ''
    this.#data = []
    return isEmpty ? [] : [event]
  }
}
