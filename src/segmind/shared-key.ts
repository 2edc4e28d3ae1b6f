type Outcome = 'accepted' | 'refused'

/** Answers to a call that only who has a good key gets. Trouble, limits and silence say nothing about it. */
const ACCEPTED: ReadonlySet<string> = new Set(['ok', 'upstream_rejected', 'credits_exhausted'])

/** What Segmind has last made of the shared key: for calls, and for questions for the balance, which may be permitted apart. */
export class SharedKey {
  readonly #onChange: (state: Outcome) => void
  #calls: Outcome | undefined
  #balance: Outcome | undefined

  constructor(onChange: (state: Outcome) => void = () => {}) {
    this.#onChange = onChange
  }

  /** Undefined while nothing was heard. */
  get state(): Outcome | undefined {
    if (this.#calls === 'refused' || this.#balance === 'refused') return 'refused'
    return this.#calls ?? this.#balance
  }

  /** Takes down how a call has ended: `ok`, or an error code. */
  called(code: string): void {
    this.#take(() => {
      if (code === 'upstream_unauthorized') this.#calls = 'refused'
      if (ACCEPTED.has(code)) this.#calls = 'accepted'
    })
  }

  /** Takes down how a question for the balance has ended: `ok`, or an error code. */
  asked(code: string): void {
    this.#take(() => {
      if (code === 'upstream_unauthorized') this.#balance = 'refused'
      if (code === 'ok') this.#balance = 'accepted'
    })
  }

  #take(news: () => void): void {
    const before = this.state
    news()
    if (this.state && this.state !== before) this.#onChange(this.state)
  }
}
